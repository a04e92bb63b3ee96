// tests/peers/imap_fake: mailboxes and the public functions; the conversation is in imap_session.cpp.
#include "tests/peers/imap_fake.hpp"

#include <algorithm>

#include "tests/peers/imap_fake_state.hpp"

namespace mailherd::peers {

using std::chrono::milliseconds;

fake_folder& imap_fake::state::folder(std::string_view name) {
  // INBOX in any case is the one inbox (RFC 3501, 5.1).
  std::string key = upper(name) == "INBOX" ? std::string("INBOX") : std::string(name);
  const auto [found, made] = folders.try_emplace(std::move(key));
  if (made) found->second.uid_validity += static_cast<std::uint32_t>(folders.size());
  return found->second;
}

imap_fake::imap_fake(imap_fake_options options) : state_(std::make_unique<state>()) {
  state_->options = options;
  state_->accounts = {options.passwords, options.tokens};
  state_->folder("INBOX");
  state_->server = std::make_unique<scripted_server>(
      [fake = state_.get()](connection& line) {
        imap_session session(*fake, line);
        session.run();
      },
      options.socket);
}

imap_fake::~imap_fake() { stop(); }

std::uint16_t imap_fake::port() const noexcept { return state_->server->port(); }
scripted_server& imap_fake::server() noexcept { return *state_->server; }

std::uint32_t imap_fake::add(std::string raw, std::string_view folder, std::chrono::system_clock::time_point internal_date) {
  std::uint32_t uid = 0;
  {
    const std::lock_guard lock(state_->mutex);
    fake_folder& target = state_->folder(folder);
    uid = target.uid_next++;
    target.messages.push_back({uid, std::move(raw), {}, internal_date, ++target.modseq, {}});
  }
  state_->tell();
  return uid;
}

namespace {

template <class Change>
void change_message(imap_fake::state& fake, std::uint32_t uid, std::string_view folder, Change change) {
  {
    const std::lock_guard lock(fake.mutex);
    for (auto& message : fake.folder(folder).messages) {
      if (message.uid == uid) change(message);
    }
  }
  fake.tell();
}

}  // namespace

void imap_fake::claim_size(std::uint32_t uid, std::uint32_t size, std::string_view folder) {
  change_message(*state_, uid, folder, [&](fake_message& message) { message.claimed_size = size; });
}

void imap_fake::set_flags(std::uint32_t uid, std::set<std::string> flags, std::string_view folder) {
  change_message(*state_, uid, folder, [&](fake_message& message) {
    message.flags = std::move(flags);
    message.modseq = ++state_->folder(folder).modseq;
  });
}

void imap_fake::expunge(std::uint32_t uid, std::string_view folder) {
  {
    const std::lock_guard lock(state_->mutex);
    auto& messages = state_->folder(folder).messages;
    messages.erase(std::remove_if(messages.begin(), messages.end(), [&](const auto& one) { return one.uid == uid; }), messages.end());
  }
  state_->tell();
}

void imap_fake::set_uid_next(std::uint32_t next, std::string_view folder) {
  const std::lock_guard lock(state_->mutex);
  state_->folder(folder).uid_next = next;
}

void imap_fake::set_uid_validity(std::uint32_t value, std::string_view folder, bool renumber) {
  const std::lock_guard lock(state_->mutex);
  fake_folder& target = state_->folder(folder);
  target.uid_validity = value;
  if (!renumber) return;
  target.uid_next = 1;
  for (auto& message : target.messages) message.uid = target.uid_next++;
}

std::uint32_t imap_fake::uid_validity(std::string_view folder) const {
  const std::lock_guard lock(state_->mutex);
  return state_->folder(folder).uid_validity;
}

std::vector<fake_message> imap_fake::messages(std::string_view folder) const {
  const std::lock_guard lock(state_->mutex);
  return state_->folder(folder).messages;
}

void imap_fake::remove_folder(std::string_view folder) {
  const std::lock_guard lock(state_->mutex);
  state_->folders.erase(std::string(folder));
}

void imap_fake::on_command(command_hook hook) {
  const std::lock_guard lock(state_->mutex);
  state_->on_command = std::move(hook);
}

void imap_fake::on_fetch(fetch_hook hook) {
  const std::lock_guard lock(state_->mutex);
  state_->on_fetch = std::move(hook);
}

void imap_fake::lie_about_exists(int difference) {
  const std::lock_guard lock(state_->mutex);
  state_->exists_lie = difference;
}

void imap_fake::idle_silent(bool silent) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->options.idle_silent = silent;
  }
  state_->tell();
}

void imap_fake::set_passwords(std::map<std::string, std::string> passwords) {
  const std::lock_guard lock(state_->mutex);
  state_->accounts.passwords = std::move(passwords);
}

void imap_fake::set_tokens(std::map<std::string, std::set<std::string>> tokens) {
  const std::lock_guard lock(state_->mutex);
  state_->accounts.tokens = std::move(tokens);
}

void imap_fake::set_capabilities(std::string capabilities) {
  const std::lock_guard lock(state_->mutex);
  state_->options.capabilities = std::move(capabilities);
}

void imap_fake::max_connections_per_user(unsigned limit) {
  const std::lock_guard lock(state_->mutex);
  state_->options.max_connections_per_user = limit;
}

void imap_fake::push(std::string_view line, bool close) {
  {
    const std::lock_guard lock(state_->mutex);
    for (imap_session* session : state_->idling) session->pushed.emplace_back(line, close);
  }
  state_->tell();
}

std::size_t imap_fake::idling() const {
  const std::lock_guard lock(state_->mutex);
  return state_->idling.size();
}

bool imap_fake::wait_idling(std::size_t sessions, milliseconds timeout) const {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, timeout, [&] { return state_->idling.size() >= sessions; });
}

std::size_t imap_fake::count_commands(std::string_view name) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->counts.find(std::string(name));
  return found == state_->counts.end() ? 0 : found->second;
}

std::vector<std::pair<std::string, std::string>> imap_fake::logins() const {
  const std::lock_guard lock(state_->mutex);
  return state_->logins;
}

void imap_fake::stop() { state_->server->stop(); }

}  // namespace mailherd::peers
