// tests/protocol/imap: a scripted server for the engine: what is said, what must have been sent, and what came of it as text.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/imap/engine.hpp"

namespace mailherd::imap {

inline const wall_time test_now{std::chrono::seconds(1795486332)};

template <class... F>
struct overloaded : F... {
  using F::operator()...;
};
template <class... F>
overloaded(F...) -> overloaded<F...>;

template <class Number>
std::string or_dash(const std::optional<Number>& n) {
  return n ? fmt::format("{}", *n) : "-";
}

/// Events as one line each; slices of a body are joined, as their borders mean nothing.
class log {
 public:
  void add(const any_event& e) {
    if (const auto* chunk = std::get_if<event::body_chunk>(&e)) {
      body_ += chunk->bytes;
      ++chunks_;
      return;
    }
    if (std::holds_alternative<event::body_end>(e)) {
      lines_.push_back("body " + body_);
      bodies_.push_back(std::exchange(body_, {}));
      return;
    }
    lines_.push_back(text(e));
  }
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] const std::vector<std::string>& bodies() const { return bodies_; }
  /// Of a body whose end has not come.
  [[nodiscard]] const std::string& unfinished() const { return body_; }
  [[nodiscard]] std::size_t chunks() const { return chunks_; }
  std::vector<std::string> take() { return std::exchange(lines_, {}); }

 private:
  static std::string text(const any_event& e) {
    return std::visit(
        overloaded{
            [](const event::greeted& x) { return fmt::format("greeted{}", x.preauth ? " preauth" : ""); },
            [](const event::capabilities& x) { return fmt::format("capabilities {}", x.command); },
            [](const event::start_tls& x) { return fmt::format("start_tls {}", x.command); },
            [](const event::logged_in& x) { return fmt::format("logged_in {} {}", x.command, x.mechanism); },
            [](const event::mailbox& x) {
              return fmt::format("mailbox {} {} ({}) {}", x.command, x.name, x.attributes,
                                 x.delimiter == '\0' ? "flat" : std::string(1, x.delimiter));
            },
            [](const event::selected& x) {
              return fmt::format("selected {} exists={} validity={} next={} modseq={}{}{}", x.command, x.exists, x.uid_validity.value,
                                 x.uid_next.value, x.highest_modseq, x.read_only ? " read-only" : "", x.sticky_uids ? "" : " unsticky");
            },
            [](const event::status& x) {
              return fmt::format("status {} messages={} unseen={} next={} validity={} modseq={}", x.command, or_dash(x.messages),
                                 or_dash(x.unseen), or_dash(x.uid_next), or_dash(x.uid_validity), or_dash(x.highest_modseq));
            },
            [](const event::found& x) { return fmt::format("found {} {}", x.command, x.uids->to_string()); },
            [](const event::body_begin& x) {
              return fmt::format("begin {} uid={} {}{}", x.sequence, x.uid.value, x.bytes, x.headers_only ? " headers" : "");
            },
            [](const event::body_chunk&) { return std::string(); },
            [](const event::body_end&) { return std::string(); },
            [](const event::fetched& x) {
              return fmt::format("fetched {} uid={}{}{}{}", x.sequence, x.uid.value, x.size ? fmt::format(" size={}", *x.size) : "",
                                 x.internal_date ? fmt::format(" date={}", x.internal_date->time_since_epoch().count() / 1'000'000) : "",
                                 x.has_body ? " body" : "");
            },
            [](const event::exists& x) { return fmt::format("exists {}", x.messages); },
            [](const event::expunged& x) { return fmt::format("expunged {}", x.sequence); },
            [](const event::idling& x) { return fmt::format("idling {}", x.command); },
            [](const event::done& x) { return fmt::format("done {} {}", x.command, to_string(x.kind)); },
            [](const event::refused& x) { return fmt::format("refused {} {} {}", x.command, to_string(x.kind), to_string(x.reason.code)); },
            [](const event::alert& x) { return fmt::format("alert {}", x.text); },
            [](const event::bye& x) { return fmt::format("bye {}", to_string(x.reason.code)); },
            [](const event::failed& x) { return fmt::format("failed {}", to_string(x.reason.code)); },
        },
        e);
  }

  std::vector<std::string> lines_, bodies_;
  std::string body_;
  std::size_t chunks_ = 0;
};

inline sasl::credentials password_of(std::string user = "joe", std::string word = "hunter2") {
  sasl::credentials c;
  c.username = std::move(user);
  c.password = secret<>(std::move(word));
  return c;
}

inline sasl::credentials token_of(std::string user = "joe@x.test") {
  sasl::credentials c;
  c.type = auth_type::oauth2;
  c.username = std::move(user);
  c.access_token = secret<>(std::string("the-token"));
  return c;
}

/// UIDs from a list, e.g. {1, 2, 5}.
inline uid_set uids(std::initializer_list<std::uint32_t> list) {
  uid_set s;
  for (const auto u : list) s.add({u});
  return s;
}

class script {
 public:
  explicit script(engine_options options = {}) : engine(std::move(options)) {}

  /// The server says `bytes`, in pieces of `piece` bytes (0: at once). Returns the events since the last call.
  std::vector<std::string> server(std::string_view bytes, std::size_t piece = 0) {
    while (!bytes.empty()) {
      // A copy of its own size: reading behind the end, or an event that outlives its bytes, is found by the sanitizer.
      const std::vector<char> copy(bytes.begin(),
                                   bytes.begin() + static_cast<std::ptrdiff_t>(piece == 0 ? bytes.size() : std::min(piece, bytes.size())));
      bytes.remove_prefix(copy.size());
      engine.receive({copy.data(), copy.size()}, test_now);
      while (const auto e = engine.next_event()) {
        if (const auto* f = std::get_if<event::failed>(&*e)) reason = f->reason;
        if (const auto* r = std::get_if<event::refused>(&*e)) reason = r->reason;
        if (const auto* b = std::get_if<event::bye>(&*e)) reason = b->reason;
        events.add(*e);
      }
    }
    return events.take();
  }
  std::string sent() { return engine.take_output(); }

  /// Greeting, capabilities; nothing sent yet: the next command is number 1.
  void greet(std::string_view capabilities = "IMAP4rev1 SASL-IR AUTH=PLAIN") {
    server(fmt::format("* OK [CAPABILITY {}] ready\r\n", capabilities));
  }

  /// Greeted, signed in with number 1: the next command is number 2.
  void sign_in(std::string_view capabilities = "IMAP4rev1 IDLE UIDPLUS ID ENABLE") {
    greet();
    engine.login(password_of());
    server(fmt::format("A1 OK [CAPABILITY {}] in\r\n", capabilities));
    sent();
  }

  /// Signed in, INBOX selected with number 2: 3 messages, UIDVALIDITY 7, UIDNEXT 10. The next command is number 3.
  void select(std::string_view capabilities = "IMAP4rev1 IDLE UIDPLUS ID ENABLE") {
    sign_in(capabilities);
    engine.select("INBOX", false);
    server("* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 10] x\r\nA2 OK [READ-WRITE] in\r\n");
    sent();
  }

  imap::engine engine;
  log events;
  error reason;
};

}  // namespace mailherd::imap
