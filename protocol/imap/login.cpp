// protocol/imap/login: AUTHENTICATE and LOGIN (RFC 3501, 6.2.2 and 6.2.3; RFC 4959).
#include <fmt/format.h>

#include <algorithm>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/imap/engine.hpp"
#include "protocol/imap/login_run.hpp"

namespace mailherd::imap {

namespace {
// Servers take command lines of 8 KB and more (RFC 7162, 4); a longer initial response waits for the "+".
constexpr std::size_t initial_response_bytes = 7'000;
}  // namespace

engine::engine(engine_options options) : options_(std::move(options)) {}
engine::~engine() = default;
engine::engine(engine&&) noexcept = default;
engine& engine::operator=(engine&&) noexcept = default;

result<command_id> engine::login(const sasl::credentials& who) {
  if (failure_) return fail(*failure_);
  if (state_ != state::not_authenticated || !queue_.empty()) return fail(failure::internal, "login in a wrong state of the session");
  with_token_ = who.type == auth_type::oauth2;
  auto run = std::make_unique<login_run>();
  run->what = with_token_ ? who.access_token : who.password;
  const sasl::policy rules{options_.encrypted, options_.allow_unencrypted, options_.prefer_oauthbearer, options_.scram_nonce};
  auto mechanism = sasl::choose(capabilities_.mechanisms(), who, rules);
  std::vector<std::string> parts;
  if (mechanism) {
    run->mechanism = std::move(*mechanism);
    run->initial = run->mechanism->initial_response();
    parts.push_back(fmt::format("AUTHENTICATE {}", run->mechanism->name()));
    if (run->initial && capabilities_.has(capability::sasl_ir)) {
      const auto encoded = base64_encode(run->initial->reveal());
      if (encoded.size() <= initial_response_bytes) {
        parts.back() += ' ';
        parts.back() += encoded.empty() ? "=" : encoded;
        run->initial.reset();
      }
    }
  } else {
    const bool plain_login = who.type == auth_type::basic && mechanism.error().code == failure::mechanism_missing &&
                             !capabilities_.has(capability::login_disabled) && (options_.encrypted || options_.allow_unencrypted);
    if (!plain_login) {
      if (who.type == auth_type::basic && capabilities_.has(capability::login_disabled) &&
          mechanism.error().code == failure::mechanism_missing)
        return fail(failure::login_disabled, "the server does not accept passwords here (LOGINDISABLED)");
      return fail(std::move(mechanism.error()));
    }
    parts.emplace_back("LOGIN ");
    append_string(parts, who.username);
    parts.back() += ' ';
    append_string(parts, who.password.reveal());
  }
  login_ = std::move(run);
  auto id = enqueue(command_kind::login, std::move(parts));
  if (!id) login_.reset();
  return id;
}

void engine::on_login_continuation(std::string_view text) {
  auto& run = *login_;
  if (!run.mechanism) return fail_session(failure::protocol_violation, "a continuation that LOGIN did not ask for");
  if (run.failure) return fail_session(error(*run.failure));  // withdrawn already, and it goes on asking
  if (text.size() > limits::sasl_challenge_bytes * 4 / 3 + 4)
    return fail_session(failure::limit_exceeded, fmt::format("a challenge of more than {} bytes", limits::sasl_challenge_bytes));
  result<secret<>> answer = secret<>{};
  if (run.initial) {
    answer = std::move(*run.initial);
    run.initial.reset();
  } else {
    const auto challenge = base64_decode(text);
    answer = challenge ? run.mechanism->respond(*challenge)
                       : result<secret<>>(fail(failure::protocol_violation, "a challenge that is not base64"));
  }
  if (!answer) {
    // The server's tagged answer to "*" ends the command; the reason is ours.
    run.failure = std::move(answer.error());
    output_ += "*\r\n";
    return;
  }
  const secret<> encoded(base64_encode(answer->reveal()));
  output_ += encoded.reveal();
  output_ += "\r\n";
}

void engine::finish_login(const command& c) {
  event::logged_in e;
  e.command = c.id;
  e.mechanism = "LOGIN";
  if (login_->failure) return fail_session(error(*login_->failure));
  if (login_->mechanism) {
    if (!login_->mechanism->complete())
      return fail_session(failure::protocol_violation,
                          fmt::format("{}: the server accepted before the exchange was complete", login_->mechanism->name()));
    e.mechanism = login_->mechanism->name();  // static text: outlives the mechanism
  }
  login_.reset();
  state_ = state::authenticated;
  // What was offered before the login says nothing about now (RFC 3501, 6.2.2), unless the list came with the answer or right before it.
  if (!told_capabilities_) capabilities_.clear();
  push(e);
}

/// True if a text of the server holds the secret of the login that runs, in the clear or in base64.
bool engine::repeats_secret(std::string_view text) const {
  if (!login_ || login_->what.empty()) return false;
  const auto& what = login_->what.reveal();
  if (contains_text(text, what)) return true;
  while (!text.empty()) {
    const auto length = std::min(text.find_first_of(" \t\"'<>()"), text.size());
    const auto decoded = base64_decode(text.substr(0, length));
    if (decoded && decoded->find(what) != std::string::npos) return true;
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return false;
}

}  // namespace mailherd::imap
