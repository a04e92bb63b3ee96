// protocol/imap/replies: what whole responses mean (RFC 3501, 7).
#include <fmt/format.h>

#include <algorithm>
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
  if (line.empty()) return;  // some servers send blank lines between responses
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
  auto waiting = std::find_if(queue_.begin(), queue_.end(), [](const command& c) { return c.sent && c.next_part < c.parts.size(); });
  if (waiting != queue_.end()) {
    output_ += waiting->parts[waiting->next_part++];
    if (waiting->next_part == waiting->parts.size()) output_ += "\r\n";
    return;
  }
  if (login_ && in_flight(command_kind::login)) return on_login_continuation(text);
  if (auto* c = in_flight(command_kind::idle)) {
    if (idle_active_) return;  // "+ still here" of some servers
    idle_active_ = true;
    if (idle_ending_) output_ += "DONE\r\n";
    return push(event::idling{c->id});
  }
  fail_session(failure::protocol_violation, "a continuation that nothing asked for");
}

void engine::on_untagged(std::string_view rest) {
  if (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') {
    const auto number = whole_number<std::uint32_t>(take_word(rest));
    if (!number) return fail_session(failure::protocol_violation, "a response with a number beyond 32 bits");
    if (state_ == state::greeting) return fail_session(failure::protocol_violation, "the server's first line is no IMAP greeting");
    return on_numbered(*number, rest);
  }
  const auto word = take_word(rest);
  for (const std::string_view s : {"OK", "NO", "BAD", "BYE", "PREAUTH"})
    if (equal_text(word, s)) return on_status(s, rest);
  if (state_ == state::greeting) return fail_session(failure::protocol_violation, "the server's first line is no IMAP greeting");
  if (equal_text(word, "CAPABILITY")) return capabilities_.assign(rest);
  if (equal_text(word, "LIST")) return on_list(rest);
  if (equal_text(word, "STATUS")) return on_mailbox_status(rest);
  if (equal_text(word, "SEARCH")) return on_search(rest);
  if (equal_text(word, "ESEARCH")) return on_esearch(rest);
  if (equal_text(word, "VANISHED")) return push(event::expunged{});
  // FLAGS, ENABLED, ID, NAMESPACE and whatever an extension adds: nothing here depends on them (RFC 3501, 7: must be accepted).
}

// ---- status responses ------------------------------------------------------------------------------------------------------------------

void engine::on_status(std::string_view status, std::string_view rest) {
  const auto code = take_code(rest);
  if (state_ == state::greeting) return on_greeting(status, code, rest);
  if (!code.empty()) on_code(code);
  if (equal_text(code, "ALERT")) push(event::alert{clean_server_text(rest)});
  if (status == "BYE") {
    if (state_ == state::logout || bye_) return;
    bye_ = refusal_error(queue_.empty() ? nullptr : &queue_.front(), status, code, rest);
    return push(event::bye{*bye_});
  }
  if (status == "PREAUTH") fail_session(failure::protocol_violation, "PREAUTH in mid-session");
}

void engine::on_greeting(std::string_view status, std::string_view code, std::string_view rest) {
  if (status == "OK" || status == "PREAUTH") {
    const bool preauth = status == "PREAUTH";
    // Signed in before TLS: whoever answers cannot be verified any more (RFC 9051, 7.1.4).
    if (preauth && !options_.encrypted && !options_.allow_unencrypted)
      return fail_session(failure::tls_not_offered, "the server signs in unencrypted (PREAUTH), so TLS cannot be started");
    state_ = preauth ? state::authenticated : state::not_authenticated;
    if (code.substr(0, 11) == "CAPABILITY ") capabilities_.assign(code.substr(11));
    return push(event::greeted{preauth});
  }
  if (status == "BYE") {
    refusal r;
    r.where = phase::greeting;
    r.status = status;
    r.code = code;
    r.text = rest;
    return fail_session(classify(r, now_));
  }
  fail_session(failure::protocol_violation, fmt::format("the server greets with {}", status));
}

void engine::on_code(std::string_view code) {
  auto arguments = code;
  const auto name = take_word(arguments);
  if (equal_text(name, "CAPABILITY")) return capabilities_.assign(arguments);
  if (!select_) return;
  auto& s = *select_;
  if (equal_text(name, "UIDVALIDITY")) s.uid_validity.value = whole_number<std::uint32_t>(arguments).value_or(0);
  if (equal_text(name, "UIDNEXT")) s.uid_next.value = whole_number<std::uint32_t>(arguments).value_or(0);
  if (equal_text(name, "HIGHESTMODSEQ")) s.highest_modseq = whole_number<std::uint64_t>(arguments).value_or(0);
}

phase engine::phase_of(const command* c) const {
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

error engine::refusal_error(const command* c, std::string_view status, std::string_view code, std::string_view text) const {
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
  return classify(r, now_);
}

void engine::on_tagged(std::string_view tag, std::string_view rest) {
  const auto id = tag.size() > 1 && tag.front() == 'A' ? whole_number<command_id>(tag.substr(1)) : std::nullopt;
  const auto it = std::find_if(queue_.begin(), queue_.end(), [&](const command& c) { return c.sent && id == c.id; });
  if (it == queue_.end()) return fail_session(failure::protocol_violation, "an answer with a tag that nobody sent");
  const auto status = take_word(rest);
  const auto code = take_code(rest);
  command c;
  c.id = it->id;
  c.kind = it->kind;
  if (equal_text(code, "ALERT")) push(event::alert{clean_server_text(rest)});
  if (equal_text(status, "OK")) {
    if (!code.empty()) on_code(code);
    on_tagged_ok(c, code);
  } else if (equal_text(status, "NO") || equal_text(status, "BAD")) {
    auto reason = refusal_error(&c, equal_text(status, "NO") ? "NO" : "BAD", code, rest);
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

void engine::on_tagged_ok(const command& c, std::string_view code) {
  switch (c.kind) {
    case command_kind::capability: return push(event::capabilities{c.id});
    case command_kind::starttls:
      if (!input_.empty()) return fail_session(failure::protocol_violation, "bytes in the clear behind the answer to STARTTLS");
      state_ = state::tls;
      return push(event::start_tls{c.id});
    case command_kind::login: return finish_login(c, code);
    case command_kind::select: {
      state_ = state::selected;
      auto e = select_.value_or(event::selected{});
      select_.reset();
      e.command = c.id;
      e.read_only = equal_text(code, "READ-ONLY");
      return push(e);
    }
    case command_kind::idle:
      idle_active_ = idle_ending_ = false;
      return push(event::done{c.id, c.kind});
    default: return push(event::done{c.id, c.kind});
  }
}

// ---- data --------------------------------------------------------------------------------------------------------------------------------

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
  if (equal_text(word, "FETCH")) return on_fetch(number, rest);
}

void engine::on_fetch(std::uint32_t sequence, std::string_view rest) {
  scanner in(rest);
  event::fetched e;
  e.sequence = sequence;
  const auto malformed = [&] { fail_session(failure::protocol_violation, fmt::format("a FETCH response that cannot be read (message {})", sequence)); };
  in.skip_spaces();
  if (!in.take('(')) return malformed();
  while (true) {
    in.skip_spaces();
    if (in.take(')')) break;
    const auto item = in.word();
    if (item.empty()) return malformed();
    in.skip_spaces();
    if (equal_text(item, "UID")) {
      const auto n = in.number();
      if (!n || *n == 0 || *n > 0xFFFFFFFFu) return malformed();
      e.uid.value = static_cast<std::uint32_t>(*n);
    } else if (equal_text(item, "RFC822.SIZE")) {
      e.size = in.number();
      if (!e.size) return malformed();
    } else if (equal_text(item, "INTERNALDATE")) {
      const auto text = in.string();
      if (!text) return malformed();
      e.internal_date = parse_internal_date(*text);  // a date nobody can read is as good as none
    } else if (equal_text(item.substr(0, 5), "BODY[") || equal_text(item, "RFC822") || equal_text(item, "RFC822.HEADER")) {
      if (in.peek() == '*') {
        in.take('*');  // its bytes went by as events
        e.has_body = true;
      } else if (in.peek() == '"') {
        auto text = in.string();
        if (!text) return malformed();
        scratch_ = std::move(*text);
        event::body_begin begin;
        begin.sequence = sequence;
        begin.uid = e.uid;
        begin.headers_only = equal_text(item, "BODY[HEADER]") || equal_text(item, "RFC822.HEADER");
        begin.bytes = scratch_.size();
        push(begin);
        if (!scratch_.empty()) push(event::body_chunk{scratch_});
        push(event::body_end{});
        e.has_body = true;
      } else if (!in.skip_value()) {  // NIL: the message has gone
        return malformed();
      }
    } else if (!in.skip_value()) {
      return malformed();
    }
  }
  push(e);
}

void engine::on_list(std::string_view rest) {
  scanner in(rest);
  if (!in.take('(')) return;
  const auto attributes = in.rest();
  const auto end = attributes.find(')');
  if (end == std::string_view::npos) return;
  in = scanner(attributes.substr(end + 1));
  in.skip_spaces();
  if (!in.string()) return;
  in.skip_spaces();
  auto name = in.string();
  if (!name) return;
  scratch_ = from_utf7(*name).value_or(*name);
  const auto* c = in_flight(command_kind::list);
  push(event::mailbox{c ? c->id : 0, scratch_, attributes.substr(0, end)});
}

void engine::on_mailbox_status(std::string_view rest) {
  scanner in(rest);
  if (!in.string()) return;
  in.skip_spaces();
  if (!in.take('(')) return;
  event::status e;
  if (const auto* c = in_flight(command_kind::status)) e.command = c->id;
  while (!in.at_end() && !in.take(')')) {
    in.skip_spaces();
    const auto item = in.word();
    in.skip_spaces();
    const auto value = in.number();
    if (!value || *value > 0xFFFFFFFFu) {
      if (item.empty() || !in.skip_value()) break;
      continue;
    }
    const auto n = static_cast<std::uint32_t>(*value);
    if (equal_text(item, "MESSAGES")) e.messages = n;
    if (equal_text(item, "UNSEEN")) e.unseen = n;
    if (equal_text(item, "UIDNEXT")) e.uid_next = n;
    if (equal_text(item, "UIDVALIDITY")) e.uid_validity = n;
    in.skip_spaces();
  }
  push(e);
}

void engine::on_search(std::string_view rest) {
  scanner in(rest);
  found_ = {};
  while (true) {
    in.skip_spaces();
    const auto n = in.number();
    if (!n) break;  // the end, or "(MODSEQ ...)"
    if (*n > 0 && *n <= 0xFFFFFFFFu) found_.add({static_cast<std::uint32_t>(*n)});
  }
  const auto* c = in_flight(command_kind::search);
  if (!found_.empty() && c) push(event::found{c->id, &found_});
}

void engine::on_esearch(std::string_view rest) {
  scanner in(rest);
  if (in.peek() == '(' && !in.skip_value()) return;
  while (true) {
    in.skip_spaces();
    const auto item = in.word();
    if (item.empty()) return;
    if (equal_text(item, "UID")) continue;
    in.skip_spaces();
    if (!equal_text(item, "ALL")) {
      if (!in.skip_value()) return;
      continue;
    }
    auto set = uid_set::parse(in.word());
    const auto* c = in_flight(command_kind::search);
    if (!set || !c) return;
    found_ = std::move(*set);
    return push(event::found{c->id, &found_});
  }
}

}  // namespace mailherd::imap
