// tests/peers/imap_session_messages: what the fake's commands do with messages; the conversation is in imap_session.cpp.
#include <algorithm>

#include <fmt/format.h>

#include "tests/peers/imap_fake_state.hpp"
#include "tests/peers/imap_fake_text.hpp"

namespace mailherd::peers {

namespace {

constexpr std::size_t flush_bytes = 64 * 1024;

bool has_flag(const fake_message& message, const char* flag) { return message.flags.count(flag) != 0; }

long day_of(const fake_message& message) { return std::chrono::system_clock::to_time_t(message.internal_date) / 86400; }

}  // namespace

fake_message* imap_session::find(std::uint32_t uid) {
  auto& messages = here().messages;
  const auto found =
      std::lower_bound(messages.begin(), messages.end(), uid, [](const fake_message& m, std::uint32_t u) { return m.uid < u; });
  return found != messages.end() && found->uid == uid ? &*found : nullptr;
}

std::vector<std::size_t> imap_session::chosen(std::string_view set, bool by_uid) const {
  const std::uint32_t largest = seen_.empty() ? 0 : by_uid ? seen_.back() : static_cast<std::uint32_t>(seen_.size());
  const number_set wanted(set, largest);
  std::vector<std::size_t> out;
  for (std::size_t at = 0; at < seen_.size(); ++at) {
    if (wanted.contains(by_uid ? seen_[at] : static_cast<std::uint32_t>(at + 1))) out.push_back(at);
  }
  return out;
}

void imap_session::search(const imap_command& command, bool by_uid) {
  const auto words = arguments(command.text);
  std::string out = "* SEARCH";
  {
    const std::lock_guard lock(fake_.mutex);
    for (std::size_t at = 0; at < seen_.size(); ++at) {
      const fake_message* message = find(seen_[at]);
      bool hit = message != nullptr;
      for (std::size_t w = 0; hit && w < words.size(); ++w) {
        const std::string word = upper(words[w]);
        const auto value = [&]() -> std::string { return ++w < words.size() ? words[w] : std::string(); };
        if (word == "UID") hit = number_set(value(), seen_.back()).contains(message->uid);
        else if (word == "SEEN") hit = has_flag(*message, "\\Seen");
        else if (word == "UNSEEN") hit = !has_flag(*message, "\\Seen");
        else if (word == "DELETED") hit = has_flag(*message, "\\Deleted");
        else if (word == "UNDELETED") hit = !has_flag(*message, "\\Deleted");
        else if (word == "SINCE") hit = day_of(*message) >= days_of(value());
        else if (word == "BEFORE") hit = day_of(*message) < days_of(value());
        else if (word == "LARGER") hit = message->raw.size() > std::stoul(value());
        else if (word == "SMALLER") hit = message->raw.size() < std::stoul(value());
        else if (word == "MODSEQ") hit = message->modseq >= std::stoull(value());
        else if (word == "CHARSET") value();
        else if (word != "ALL")
          hit = number_set(word, static_cast<std::uint32_t>(seen_.size())).contains(static_cast<std::uint32_t>(at + 1));
      }
      if (hit) out += fmt::format(" {}", by_uid ? seen_[at] : static_cast<std::uint32_t>(at + 1));
    }
  }
  emit(out + "\r\n");
  done(command);
}

void imap_session::fetch(const imap_command& command, bool by_uid) {
  std::string_view rest = command.text;
  const std::string set = next_argument(rest);
  std::vector<std::string> items = arguments(next_argument(rest));
  for (auto& item : items) item = upper(item);
  if (by_uid && std::find(items.begin(), items.end(), "UID") == items.end()) items.insert(items.begin(), "UID");
  std::uint64_t changed_since = 0;
  const std::string modifiers = upper(rest);
  if (const auto at = modifiers.find("CHANGEDSINCE "); at != std::string::npos) {
    changed_since = std::stoull(modifiers.substr(at + 13));
    items.emplace_back("MODSEQ");
  }
  imap_fake::fetch_hook hook;
  {
    const std::lock_guard lock(fake_.mutex);
    hook = fake_.on_fetch;
  }
  std::string out;
  for (const std::size_t at : chosen(set, by_uid)) {
    fake_message message;
    {
      const std::lock_guard lock(fake_.mutex);
      fake_message* found = find(seen_[at]);
      if (found == nullptr || found->modseq <= changed_since) continue;
      const bool reads =
          std::any_of(items.begin(), items.end(), [](const auto& item) { return item.compare(0, 5, "BODY[") == 0 || item == "RFC822"; });
      if (reads) found->flags.insert("\\Seen");
      message = *found;
    }
    if (const auto other = hook ? hook(command, message) : std::nullopt) {
      out += *other;
    } else {
      std::vector<std::string> parts;
      for (const auto& item : items) {
        if (std::string part = fetch_item(item, message); !part.empty()) parts.push_back(std::move(part));
      }
      out += fmt::format("* {} FETCH ({})\r\n", at + 1, fmt::join(parts, " "));
    }
    if (out.size() < flush_bytes) continue;
    emit(out);
    out.clear();
  }
  if (!out.empty()) emit(out);
  tell_news(false);
  done(command);
}

void imap_session::store(const imap_command& command, bool by_uid) {
  std::string_view rest = command.text;
  const std::string set = next_argument(rest);
  std::string how = upper(next_argument(rest));
  while (!how.empty() && how.front() == '(') how = upper(next_argument(rest));  // (UNCHANGEDSINCE n) is not looked at
  const bool silent = how.find(".SILENT") != std::string::npos;
  const auto flags = arguments(next_argument(rest));
  std::string out;
  {
    const std::lock_guard lock(fake_.mutex);
    for (const std::size_t at : chosen(set, by_uid)) {
      fake_message* message = find(seen_[at]);
      if (message == nullptr) continue;
      if (how.front() != '+' && how.front() != '-') message->flags.clear();
      for (const auto& flag : flags) {
        if (how.front() == '-') message->flags.erase(flag);
        else message->flags.insert(flag);
      }
      message->modseq = ++here().modseq;
      if (!silent) out += fmt::format("* {} FETCH (UID {} {})\r\n", at + 1, message->uid, fetch_item("FLAGS", *message));
    }
    told_modseq_ = here().modseq;
  }
  emit(out);
  done(command);
}

void imap_session::move(const imap_command& command, bool by_uid) {
  std::string_view rest = command.text;
  const std::string set = next_argument(rest), target_name = next_argument(rest);
  {
    const std::lock_guard lock(fake_.mutex);
    fake_folder& target = fake_.folder(target_name);
    for (const std::size_t at : chosen(set, by_uid)) {
      fake_message* message = find(seen_[at]);
      if (message == nullptr) continue;
      fake_message moved = *message;
      here().messages.erase(here().messages.begin() + (message - here().messages.data()));
      moved.uid = target.uid_next++;
      moved.modseq = ++target.modseq;
      target.messages.push_back(std::move(moved));
    }
  }
  tell_news(true);
  done(command);
  fake_.tell();
}

void imap_session::expunge(const imap_command& command, bool by_uid) {
  {
    const std::lock_guard lock(fake_.mutex);
    auto& messages = here().messages;
    const number_set wanted(by_uid ? command.text : "1:*", 0xFFFFFFFFU);
    messages.erase(std::remove_if(messages.begin(), messages.end(),
                                  [&](const fake_message& one) { return has_flag(one, "\\Deleted") && wanted.contains(one.uid); }),
                   messages.end());
  }
  tell_news(true);
  done(command);
  fake_.tell();
}

}  // namespace mailherd::peers
