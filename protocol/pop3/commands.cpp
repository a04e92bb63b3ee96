// protocol/pop3/commands: the sending half of the engine: what may be said when, and in which form.
#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

#include "core/base64.hpp"
#include "core/limits.hpp"
#include "protocol/pop3/engine.hpp"

namespace mailherd::pop3 {

namespace {

/// RFC 5034, 4: a longer AUTH command must leave its initial response to the next line.
constexpr std::size_t auth_line_octets = 255;

/// Commands whose replies come in order and change nothing that the next one depends on (RFC 2449, 6.6).
bool may_be_pipelined(command_kind k) noexcept {
  return k != command_kind::capa && k != command_kind::stls && k != command_kind::login;
}

/// RFC 1939, 7: MD5 over timestamp and password. Empty if this OpenSSL has no MD5 (FIPS).
std::string apop_digest(std::string_view timestamp, const secret<>& password) {
  std::string joined;
  joined.reserve(timestamp.size() + password.reveal().size());
  joined.append(timestamp).append(password.reveal());
  const secret<> text(std::move(joined));
  std::array<unsigned char, 16> digest{};
  if (EVP_Digest(text.reveal().data(), text.reveal().size(), digest.data(), nullptr, EVP_md5(), nullptr) != 1) return {};
  std::string out;
  for (const unsigned char byte : digest) fmt::format_to(std::back_inserter(out), "{:02x}", byte);
  return out;
}

auto wrong_state(std::string_view what) {
  return fail(failure::internal, fmt::format("POP3 {} in a state of the session that does not allow it", what));
}

}  // namespace

std::string_view to_string(command_kind k) noexcept {
  switch (k) {
    case command_kind::capa: return "CAPA";
    case command_kind::stls: return "STLS";
    case command_kind::login: return "login";
    case command_kind::stat: return "STAT";
    case command_kind::uidl: return "UIDL";
    case command_kind::list: return "LIST";
    case command_kind::top: return "TOP";
    case command_kind::retr: return "RETR";
    case command_kind::dele: return "DELE";
    case command_kind::rset: return "RSET";
    case command_kind::noop: return "NOOP";
    case command_kind::quit: return "QUIT";
  }
  return "?";
}

// ---- the queue -----------------------------------------------------------------------------------------------------------------------

result<command_id> engine::enqueue(command c) {
  if (failure_) return fail(*failure_);
  if (state_ == state::greeting || state_ == state::tls || state_ == state::quitting || state_ == state::over)
    return wrong_state(to_string(c.kind));
  // Nothing may stand behind STLS or a login: what follows depends on how they end.
  if (pending() > 0 && (queue_.back().kind == command_kind::stls || queue_.back().kind == command_kind::login))
    return wrong_state(to_string(c.kind));
  queue_.push_back(c);
  const command_id id = head_id_ + pending() - 1;
  if (c.kind == command_kind::quit) state_ = state::quitting;
  send_ready();
  return id;
}

result<command_id> engine::enqueue_in_transaction(command c) {
  if (!failure_ && state_ != state::transaction) return wrong_state(to_string(c.kind));
  return enqueue(c);
}

void engine::send_ready() {
  while (sent_ < pending()) {
    const command& next = queue_[head_ + sent_];
    if (sent_ > 0) {
      const bool allowed = options_.pipelining && capabilities_.pipelining && sent_ < limits::pop3_in_flight &&
                           may_be_pipelined(queue_[head_].kind) && may_be_pipelined(next.kind);
      if (!allowed) return;
    }
    ++sent_;
    send(next);
  }
}

void engine::send(const command& c) {
  switch (c.kind) {
    case command_kind::login: return send_login();
    case command_kind::top: return write_line(fmt::format("TOP {} {}", c.number, c.lines));
    case command_kind::retr:
    case command_kind::dele: return write_line(fmt::format("{} {}", to_string(c.kind), c.number));
    case command_kind::capa:
    case command_kind::stls:
    case command_kind::stat:
    case command_kind::uidl:
    case command_kind::list:
    case command_kind::rset:
    case command_kind::noop:
    case command_kind::quit: return write_line(to_string(c.kind));
  }
}

void engine::write_line(std::string_view line) { output_.append(line).append("\r\n"); }

void engine::finish_command() {
  ++head_;
  ++head_id_;
  --sent_;
  if (head_ == queue_.size()) {
    queue_.clear();
    head_ = 0;
  } else if (head_ >= 64 && head_ * 2 >= queue_.size()) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  send_ready();
}

// ---- commands ------------------------------------------------------------------------------------------------------------------------

result<command_id> engine::capa() { return enqueue({.kind = command_kind::capa}); }

result<command_id> engine::stls() {
  if (failure_) return fail(*failure_);
  if (state_ != state::authorization || options_.encrypted || pending() > 0) return wrong_state("STLS");
  if (capabilities_.known && !capabilities_.stls) return fail(failure::tls_not_offered, "the server does not offer STLS");
  return enqueue({.kind = command_kind::stls});
}

result<command_id> engine::stat() { return enqueue_in_transaction({.kind = command_kind::stat}); }
result<command_id> engine::uidl() { return enqueue_in_transaction({.kind = command_kind::uidl}); }
result<command_id> engine::list() { return enqueue_in_transaction({.kind = command_kind::list}); }
result<command_id> engine::rset() { return enqueue_in_transaction({.kind = command_kind::rset}); }
result<command_id> engine::noop() { return enqueue_in_transaction({.kind = command_kind::noop}); }
result<command_id> engine::quit() { return enqueue({.kind = command_kind::quit}); }

result<command_id> engine::top(std::uint32_t number, std::uint32_t lines) {
  return enqueue_in_transaction({.kind = command_kind::top, .number = number, .lines = lines});
}

result<command_id> engine::retr(std::uint32_t number) { return enqueue_in_transaction({.kind = command_kind::retr, .number = number}); }
result<command_id> engine::dele(std::uint32_t number) { return enqueue_in_transaction({.kind = command_kind::dele, .number = number}); }

result<void> engine::tls_started() {
  if (failure_) return fail(*failure_);
  if (state_ != state::tls) return wrong_state("tls_started");
  options_.encrypted = true;
  state_ = state::authorization;
  capabilities_ = {};
  // The greeting came in the clear: a timestamp that an attacker may have chosen must not be signed with the password.
  timestamp_.clear();
  return {};
}

// ---- login ---------------------------------------------------------------------------------------------------------------------------

result<command_id> engine::login(const sasl::credentials& who) {
  if (failure_) return fail(*failure_);
  if (state_ != state::authorization || pending() > 0) return wrong_state("login");

  auto run = std::make_unique<login_run>();
  run->who = who;
  const sasl::policy rules{.encrypted = options_.encrypted,
                           .allow_unencrypted = options_.allow_unencrypted,
                           .prefer_oauthbearer = options_.prefer_oauthbearer,
                           .scram_nonce = options_.scram_nonce};
  auto chosen = sasl::choose(capabilities_.sasl, who, rules);
  if (!chosen && chosen.error().code == failure::invalid_input) return fail(std::move(chosen.error()));

  const bool basic = who.type == auth_type::basic;
  const bool may_expose = options_.encrypted || options_.allow_unencrypted;
  const bool apop = basic && !timestamp_.empty();
  const bool user = basic && (capabilities_.user || !capabilities_.known);  // before CAPA existed every server had USER
  if (chosen && (*chosen)->name() == "SCRAM-SHA-256") {
    run->step = login_step::sasl;
  } else if (apop && !options_.encrypted) {
    run->step = login_step::apop;
  } else if (chosen) {
    run->step = login_step::sasl;
  } else if (user && may_expose) {
    run->step = login_step::user;
  } else if (apop) {
    run->step = login_step::apop;
  } else if (user) {
    return fail(failure::mechanism_missing, "the server would take the password over an unencrypted connection only, which is not allowed");
  } else {
    return fail(std::move(chosen.error()));
  }
  if (run->step == login_step::sasl) {
    run->mechanism = std::move(*chosen);
    run->initial = run->mechanism->initial_response();
    const std::size_t line = run->initial ? 6 + run->mechanism->name().size() + (run->initial->reveal().size() + 2) / 3 * 4 + 2 : 0;
    run->one_line = run->initial && (options_.form == auth_form::one_line ||
                                     (options_.form == auth_form::automatic && basic && line <= auth_line_octets));
  }
  login_ = std::move(run);
  return enqueue({.kind = command_kind::login});
}

void engine::send_login() {
  login_run& run = *login_;
  if (run.step == login_step::user) return write_line("USER " + run.who.username);
  if (run.step == login_step::apop)
    return write_line(fmt::format("APOP {} {}", run.who.username, apop_digest(timestamp_, run.who.password)));
  if (!run.one_line) return write_line(fmt::format("AUTH {}", run.mechanism->name()));
  const secret<> encoded(base64_encode(run.initial->reveal()));
  output_.append("AUTH ").append(run.mechanism->name()).append(" ");
  write_line(encoded.empty() ? "=" : std::string_view(encoded.reveal()));  // "=" is the empty response (RFC 5034, 4)
  run.initial.reset();
}

}  // namespace mailherd::pop3
