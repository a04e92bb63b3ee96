// tests/protocol/pop3: a scripted server for the engine: what is said, what must have been sent, and what came of it as text.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "protocol/pop3/engine.hpp"

namespace mailherd::pop3 {

inline const wall_time test_now{std::chrono::seconds(1795486332)};

template <class... F>
struct overloaded : F... {
  using F::operator()...;
};
template <class... F>
overloaded(F...) -> overloaded<F...>;

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
      bodies_.push_back(std::move(body_));
      body_.clear();
    }
    lines_.push_back(text(e));
  }
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] const std::vector<std::string>& bodies() const { return bodies_; }
  [[nodiscard]] std::size_t chunks() const { return chunks_; }
  std::vector<std::string> take() { return std::exchange(lines_, {}); }

 private:
  static std::string text(const any_event& e) {
    return std::visit(overloaded{
                          [](const event::greeted& x) { return fmt::format("greeted{}", x.apop ? " apop" : ""); },
                          [](const event::capabilities& x) { return fmt::format("capabilities {} {}", x.command, x.supported); },
                          [](const event::start_tls& x) { return fmt::format("start_tls {}", x.command); },
                          [](const event::logged_in& x) { return fmt::format("logged_in {} {}", x.command, x.mechanism); },
                          [](const event::status& x) { return fmt::format("status {} {} {}", x.command, x.messages, x.octets); },
                          [](const event::uidl_entry& x) { return fmt::format("uidl {} {} {}", x.command, x.number, x.uidl); },
                          [](const event::list_entry& x) { return fmt::format("list {} {} {}", x.command, x.number, x.octets); },
                          [](const event::listing_end& x) { return fmt::format("end {} {}", x.command, x.entries); },
                          [](const event::body_begin& x) {
                            return fmt::format("begin {} {} {}", x.command, x.number, x.announced ? std::to_string(*x.announced) : "?");
                          },
                          [](const event::body_chunk&) { return std::string(); },
                          [](const event::body_end& x) { return fmt::format("finish {} {} {}", x.command, x.number, x.bytes); },
                          [](const event::done& x) { return fmt::format("done {} {} {}", x.command, to_string(x.kind), x.number); },
                          [](const event::refused& x) {
                            return fmt::format("refused {} {} {} {}", x.command, to_string(x.kind), x.number, to_string(x.reason.code));
                          },
                          [](const event::failed& x) { return fmt::format("failed {}", to_string(x.reason.code)); },
                      },
                      e);
  }

  std::vector<std::string> lines_, bodies_;
  std::string body_;
  std::size_t chunks_ = 0;
};

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
        events.add(*e);
      }
    }
    return events.take();
  }
  std::string sent() { return engine.take_output(); }

  /// Greeting, CAPA with these lines, a login with USER, CAPA again, STAT: the next command is number 5.
  void sign_in(std::string_view capabilities = "USER\r\nUIDL\r\n") {
    server("+OK ready\r\n");
    engine.capa();
    server(fmt::format("+OK\r\n{}.\r\n", capabilities));
    sasl::credentials who;
    who.username = "joe";
    who.password = secret<>(std::string("hunter2"));
    engine.login(who);
    server("+OK\r\n");
    server("+OK\r\n");
    engine.capa();
    server(fmt::format("+OK\r\n{}.\r\n", capabilities));
    engine.stat();
    server("+OK 3 300\r\n");
    sent();
  }

  pop3::engine engine;
  log events;
  error reason;
};

}  // namespace mailherd::pop3
