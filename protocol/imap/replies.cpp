// protocol/imap/replies: what whole responses mean (RFC 3501, 7). FETCH and SEARCH have files of their own.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/limits.hpp"
#include "core/server_text.hpp"
#include "protocol/imap/engine.hpp"
#include "protocol/imap/login_run.hpp"
#include "protocol/imap/scanner.hpp"
#include "protocol/imap/utf7.hpp"

namespace mailherd::imap {

namespace {

std::string_view take_word(std::string_view& rest) {
  const auto end = std::min(rest.find(' '), rest.size());
  const auto w = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return w;
}

/// Splits "[CODE arguments] text"; the code keeps its arguments.
std::string_view take_code(std::string_view& rest) {
  if (rest.empty() || rest.front() != '[') return {};
  const auto end = rest.find(']');
  if (end == std::string_view::npos) return {};
  const auto code = rest.substr(1, end - 1);
  rest.remove_prefix(end + 1);
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  return code;
}

template <class Number>
std::optional<Number> whole_number(std::string_view s) {
  Number n{};
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (ec != std::errc{} || end != s.data() + s.size()) return std::nullopt;
  return n;
}

}  // namespace

void engine::on_response(std::string_view line) {
  if (line.empty()) {
    quirks_.meet(quirk::blank_line);
    return;
  }
  if (line.front() == '*' && line.size() > 1 && line[1] == ' ') return on_untagged(line.substr(2));
  if (state_ == state::greeting) return fail_session(failure::protocol_violation, "the server's first line is no IMAP greeting");
  if (line.front() == '+') {
    line.remove_prefix(1);
    if (!line.empty() && line.front() == ' ') line.remove_prefix(1);
    return on_continuation(line);
  }
  const auto tag = take_word(line);
  on_tagged(tag, line);
}

void engine::on_continuation(std::string_view text) {
  const auto waiting = std::find_if(queue_.begin(), queue_.end(), [](const command& c) { return c.sent && c.next_part < c.parts.size(); });
  if (waiting != queue_.end()) return send_part(*waiting);
  if (login_ && in_flight(command_kind::login)) return on_login_continuation(text);
  if (auto* c = in_flight(command_kind::idle)) {
    if (idle_active_) {
      quirks_.meet(quirk::idle_chatter);
      return;
    }
    idle_active_ = true;
    if (idle_ending_) output_ += "DONE\r\n";
    return push(event::idling{c->id});
  }
  fail_session(failure::protocol_violation, "a continuation that nothing asked for");
}

/// Mailbox data before the login may come from anybody.
bool engine::is_early() {
  if (authenticated() || state_ == state::logout) return false;
  quirks_.meet(quirk::early_data);
  return true;
}

void engine::on_untagged(std::string_view rest) {
  static constexpr std::array<std::pair<std::string_view, void (engine::*)(std::string_view)>, 6> data_responses{{
      {"ENABLED", &engine::on_enabled},
      {"LIST", &engine::on_list},
      {"STATUS", &engine::on_mailbox_status},
      {"SEARCH", &engine::on_search},
      {"ESEARCH", &engine::on_esearch},
      {"VANISHED", &engine::on_vanished},
  }};
  if (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') {
    const auto number = whole_number<std::uint32_t>(take_word(rest));
    if (!number) return fail_session(failure::protocol_violation, "a response with a number beyond 32 bits");
    if (state_ == state::greeting) return fail_session(failure::protocol_violation, "the server's first line is no IMAP greeting");
    if (is_early()) return;
    return on_numbered(*number, rest);
  }
  const auto word = take_word(rest);
  for (const std::string_view s : {"OK", "NO", "BAD", "BYE", "PREAUTH"})
    if (equal_text(word, s)) return on_status(s, rest);
  if (state_ == state::greeting) return fail_session(failure::protocol_violation, "the server's first line is no IMAP greeting");
  if (equal_text(word, "CAPABILITY")) {
    told_capabilities_ = true;
    return capabilities_.assign(rest);
  }
  for (const auto& [name, handler] : data_responses) {
    if (!equal_text(word, name)) continue;
    if (!is_early()) (this->*handler)(rest);
    return;
  }
  // FLAGS, ID, NAMESPACE and whatever an extension adds: nothing here depends on them (RFC 3501, 7: must be accepted).
}

// ---- status responses ------------------------------------------------------------------------------------------------------------------

void engine::on_status(std::string_view status, std::string_view rest) {
  const auto code = take_code(rest);
  if (state_ == state::greeting) return on_greeting(status, code, rest);
  on_alert(code, rest);
  if (!code.empty()) on_code(code);
  if (failure_) return;
  if (status == "BYE") {
    if (state_ == state::logout || bye_) return;
    bye_ = refusal_error(queue_.empty() ? nullptr : &queue_.front(), status, code, rest, now_);
    return push(event::bye{*bye_});
  }
  if (status == "PREAUTH") fail_session(failure::protocol_violation, "PREAUTH in mid-session");
}

/// `rest` is what stands behind "* BYE".
error engine::bye_error(std::string_view rest, wall_time now) const {
  while (!rest.empty() && (rest.front() == ' ')) rest.remove_prefix(1);
  const auto code = take_code(rest);
  return refusal_error(queue_.empty() ? nullptr : &queue_.front(), "BYE", code, rest, now);
}

void engine::on_alert(std::string_view code, std::string_view text) {
  if (!equal_text(code, "ALERT")) return;
  if (!repeats_secret(text)) push(event::alert{clean_server_text(text)});
}

void engine::on_greeting(std::string_view status, std::string_view code, std::string_view rest) {
  on_alert(code, rest);
  if (status == "OK" || status == "PREAUTH") {
    const bool preauth = status == "PREAUTH";
    // Signed in before TLS: whoever answers cannot be verified any more (RFC 9051, 7.1.4).
    if (preauth && !options_.encrypted && !options_.allow_unencrypted)
      return fail_session(failure::tls_not_offered, "the server signs in unencrypted (PREAUTH), so TLS cannot be started");
    state_ = preauth ? state::authenticated : state::not_authenticated;
    if (!code.empty()) on_code(code);
    return push(event::greeted{preauth});
  }
  if (status == "BYE") return fail_session(refusal_error(nullptr, status, code, rest, now_));
  fail_session(failure::protocol_violation, fmt::format("the server greets with {}", status));
}

void engine::on_code(std::string_view code) {
  auto arguments = code;
  const auto name = take_word(arguments);
  if (equal_text(name, "CAPABILITY")) {
    told_capabilities_ = true;
    return capabilities_.assign(arguments);
  }
  if (!select_) {
    const auto validity = whole_number<std::uint32_t>(arguments);
    if (state_ == state::selected && equal_text(name, "UIDVALIDITY") && validity && *validity != uid_validity_.value &&
        !quirks_.meet(quirk::renumbered))
      fail_session(failure::server_bye, "the server renumbered the mailbox while it was open");
    return;
  }
  auto& s = *select_;
  // What came before belongs to the mailbox that was selected until now (RFC 7162, 3.2.11).
  if (equal_text(name, "CLOSED")) s = {};
  if (equal_text(name, "READ-ONLY")) s.read_only = true;
  if (equal_text(name, "READ-WRITE")) s.read_only = false;
  if (equal_text(name, "UIDNOTSTICKY")) {
    quirks_.meet(quirk::unsticky_uids);
    s.sticky_uids = false;
  }
  if (equal_text(name, "UIDVALIDITY")) s.uid_validity.value = whole_number<std::uint32_t>(arguments).value_or(0);
  if (equal_text(name, "UIDNEXT")) s.uid_next.value = whole_number<std::uint32_t>(arguments).value_or(0);
  if (equal_text(name, "HIGHESTMODSEQ")) s.highest_modseq = whole_number<std::uint64_t>(arguments).value_or(0);
}

phase engine::phase_of(const command* c) const {
  if (state_ == state::greeting) return phase::greeting;
  if (!c) return phase::mailbox;
  switch (c->kind) {
    case command_kind::capability:
    case command_kind::id:
    case command_kind::enable: return phase::capabilities;
    case command_kind::starttls: return phase::tls;
    case command_kind::login: return phase::login;
    case command_kind::select: return phase::select;
    case command_kind::fetch: return phase::fetch;
    default: return phase::mailbox;
  }
}

error engine::refusal_error(const command* c, std::string_view status, std::string_view code, std::string_view text, wall_time now) const {
  refusal r;
  r.where = phase_of(c);
  r.status = status;
  r.code = code.substr(0, code.find(' '));
  r.text = text;
  r.with_token = with_token_;
  std::string detail;
  if (c && c->kind == command_kind::login && login_ && login_->mechanism) {
    detail = login_->mechanism->failure_detail();
    r.detail = detail;
  }
  auto out = classify(r, now);
  // "BAD unknown command LOGIN joe hunter2": what a server repeats must not end in a log through us.
  if (repeats_secret(text) || repeats_secret(r.code) || repeats_secret(detail)) out.detail = "login: (the server repeated the secret)";
  return out;
}

void engine::on_tagged(std::string_view tag, std::string_view rest) {
  const command_id id = tag.size() > 1 && tag.front() == 'A' ? whole_number<command_id>(tag.substr(1)).value_or(0) : 0;
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&](const command& c) { return c.sent && id == c.id; });
  if (it == queue_.end()) {
    if (tag == "DONE" && equal_text(rest.substr(0, 4), "BAD ") && quirks_.meet(quirk::crossed_done)) return;
    return fail_session(failure::protocol_violation, "an answer with a tag that nobody sent");
  }
  const auto status = take_word(rest);
  const auto code = take_code(rest);
  on_alert(code, rest);
  command c;
  c.id = it->id;
  c.kind = it->kind;
  if (equal_text(status, "OK")) {
    if (!code.empty()) on_code(code);
    if (!failure_) on_tagged_ok(c);
  } else if (equal_text(status, "NO") || equal_text(status, "BAD")) {
    auto reason = refusal_error(&c, equal_text(status, "NO") ? "NO" : "BAD", code, rest, now_);
    if (c.kind == command_kind::login && login_) {
      if (login_->failure) reason = *login_->failure;
      login_.reset();
    }
    if (c.kind == command_kind::select) {
      // A failed SELECT leaves no mailbox selected (RFC 3501, 6.3.1).
      select_.reset();
      state_ = state::authenticated;
    }
    if (c.kind == command_kind::idle) idle_active_ = idle_ending_ = false;
    push(event::refused{c.id, c.kind, std::move(reason)});
  } else {
    return fail_session(failure::protocol_violation, "a tagged answer that is neither OK, NO nor BAD");
  }
  if (!failure_) finish_command(c.id);
}

void engine::on_tagged_ok(const command& c) {
  switch (c.kind) {
    case command_kind::capability: return push(event::capabilities{c.id});
    case command_kind::starttls:
      if (!output_.empty()) return fail_session(failure::protocol_violation, "an answer to STARTTLS before it was sent");
      if (!input_.empty()) return fail_session(failure::protocol_violation, "bytes in the clear behind the answer to STARTTLS");
      state_ = state::tls;
      return push(event::start_tls{c.id});
    case command_kind::login: return finish_login(c);
    case command_kind::compress: return begin_compression(c);
    case command_kind::select: {
      state_ = state::selected;
      auto e = select_.value_or(event::selected{});
      select_.reset();
      e.command = c.id;
      uid_validity_ = e.uid_validity;
      return push(e);
    }
    case command_kind::idle:
      idle_active_ = idle_ending_ = false;
      return push(event::done{c.id, c.kind});
    default: return push(event::done{c.id, c.kind});
  }
}

void engine::begin_compression(const command& c) {
  if (!output_.empty()) return fail_session(failure::protocol_violation, "an answer to COMPRESS before it was sent");
  deflate_ = std::make_unique<deflate_layer>();
  // What stands behind the answer is compressed already (RFC 4978, 3).
  deflate_->receive(std::exchange(input_, {}));
  push(event::done{c.id, c.kind});
}

bool engine::utf8_names() const {
  // RFC 9051, appendix A.1: a server that is nothing but rev2 knows no UTF-7.
  return utf8_enabled_ || (capabilities_.has(capability::imap4rev2) && !capabilities_.has(capability::imap4rev1));
}

// ---- data -------------------------------------------------------------------------------------------------------------------------------

void engine::on_numbered(std::uint32_t number, std::string_view rest) {
  const auto word = take_word(rest);
  if (equal_text(word, "EXISTS")) {
    if (select_) {
      select_->exists = number;
      return;
    }
    return push(event::exists{number});
  }
  if (equal_text(word, "EXPUNGE")) return push(event::expunged{number});
  if (!equal_text(word, "FETCH")) return;  // RECENT, and what extensions add
  if (!begin_fetch()) return malformed_fetch();
  finish_fetch();
}

void engine::on_enabled(std::string_view rest) {
  if (!in_flight(command_kind::enable)) return;
  while (!rest.empty()) {
    const auto word = take_word(rest);
    if (equal_text(word, "UTF8=ACCEPT") || equal_text(word, "IMAP4REV2")) utf8_enabled_ = true;
  }
}

void engine::on_vanished(std::string_view) { push(event::expunged{}); }

void engine::on_list(std::string_view rest) {
  scanner in(rest);
  if (!in.take('(')) return;
  const auto attributes = in.rest();
  const auto end = attributes.find(')');
  if (end == std::string_view::npos) return;
  in = scanner(attributes.substr(end + 1));
  in.skip_spaces();
  std::string unescaped;
  const bool flat = in.peek() != '"';  // NIL
  const auto delimiter = in.string(unescaped);
  if (!delimiter) return;
  event::mailbox e;
  if (!flat && !delimiter->empty()) e.delimiter = delimiter->front();
  in.skip_spaces();
  const auto name = in.string(unescaped);
  if (!name) return;
  auto decoded = utf8_names() ? std::nullopt : from_utf7(*name);
  scratch_ = decoded ? std::move(*decoded) : std::string(*name);
  if (const auto* c = in_flight(command_kind::list)) e.command = c->id;
  e.name = scratch_;
  e.attributes = attributes.substr(0, end);
  push(e);
}

void engine::on_mailbox_status(std::string_view rest) {
  scanner in(rest);
  if (!in.skip_value()) return;
  in.skip_spaces();
  if (!in.take('(')) return;
  event::status e;
  if (const auto* c = in_flight(command_kind::status)) e.command = c->id;
  while (!in.at_end() && !in.take(')')) {
    in.skip_spaces();
    const auto item = in.atom();
    if (item.empty()) break;
    in.skip_spaces();
    const auto value = in.number();
    if (!value && !in.skip_value()) break;
    in.skip_spaces();
    if (!value) continue;
    if (equal_text(item, "HIGHESTMODSEQ")) e.highest_modseq = *value;
    if (*value > 0xFFFFFFFFu) continue;
    const auto n = static_cast<std::uint32_t>(*value);
    if (equal_text(item, "MESSAGES")) e.messages = n;
    if (equal_text(item, "UNSEEN")) e.unseen = n;
    if (equal_text(item, "UIDNEXT")) e.uid_next = n;
    if (equal_text(item, "UIDVALIDITY")) e.uid_validity = n;
  }
  push(e);
}

}  // namespace mailherd::imap
