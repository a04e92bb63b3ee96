// actors/session/session_base: what an IMAP and a POP3 session share: the attempt, the read loop, the deadline, the report of events.
//
// Owns:   the connection, the session's one timer, the phase it is in.
// Never:  knows a mail protocol. Never holds a buffer while idle: bytes are handled inside the reactor's shared one.
// Threads: everything on the session's reactor. Keeps itself alive by the handlers of its connection until `finish` or `abort`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "actors/environment.hpp"
#include "actors/session/session.hpp"

namespace mailherd::actors {

class session_base : public std::enable_shared_from_this<session_base> {
 public:
  session_base(const environment& env, net::reactor& where, session_plan plan, session_listener on_event)
      : env_(env), reactor_(where), plan_(std::move(plan)), listener_(std::move(on_event)) {}
  virtual ~session_base() = default;

  /// Begins the attempt.
  void start();
  /// Drops everything at once; nothing is reported any more.
  void abort();
  void write_as(const store::lease_guard& guard) { plan_.guard = guard; }

 protected:
  virtual void on_connected() = 0;
  virtual void on_bytes(std::string_view bytes) = 0;
  /// The stream ended: the protocol may know better why ("BYE ..." came before).
  virtual error why_ended(error transport) = 0;
  /// The deadline of the current phase has passed. True: handled, go on. Default: the session ends with timed_out.
  virtual bool on_deadline() { return false; }
  /// What was arriving when the session ended.
  virtual void describe_loss(session_event::ended&) {}
  /// Frees what a dead session needs no more.
  virtual void on_finished() {}

  void report(any_session_event event);
  /// Part of a message has come: told now and then, or a large one on a slow line would look like no progress.
  void report_bytes(std::size_t bytes);
  /// Reports `ended` once and lets go of the connection.
  void finish(error reason, bool orderly = false);
  [[nodiscard]] bool over() const { return over_; }

  void send(std::string bytes);
  void start_tls();   ///< then on_tls()
  virtual void on_tls() = 0;

  /// The phase from now on, and until when something must have happened in it.
  void enter(std::string_view phase, duration limit);
  /// Something happened: the phase's time starts anew (transfers that make progress never time out).
  void progressed() { deadline_ = reactor_.now() + limit_; }
  [[nodiscard]] std::string_view phase() const { return phase_; }

  /// While paused no read is granted: back-pressure reaches the server.
  void pause() { paused_ = true; }
  void unpause();

  [[nodiscard]] const session_times& times() const { return env_.options.times; }

  const environment& env_;
  net::reactor& reactor_;
  session_plan plan_;
  std::unique_ptr<net::connection> connection_;

 private:
  void grant_read();
  void arm();

  session_listener listener_;
  std::unique_ptr<net::attempt> attempt_;
  std::unique_ptr<net::timer> timer_;
  mono_time deadline_{}, armed_for_{};
  mono_time opening_until_{};
  duration limit_{};
  std::string_view phase_ = "dns";
  std::uint64_t bytes_untold_ = 0;
  bool reading_ = false, paused_ = false, over_ = false;
};

/// The handle the actor holds: posts to the session, aborts it when destroyed.
template <class Session>
class session_handle final : public mail_session {
 public:
  session_handle(net::reactor& where, std::shared_ptr<Session> session) : reactor_(where), session_(std::move(session)) {}
  ~session_handle() override {
    // The session dies on its own thread, never on an actor's.
    reactor_.post([s = std::move(session_)] { s->abort(); });
  }
  void list(std::uint64_t request, mailherd::uid after, mailherd::uid upto) override {
    on([=](Session& s) { s.list(request, after, upto); });
  }
  void list_since(std::uint64_t request, wall_time since) override {
    on([=](Session& s) { s.list_since(request, since); });
  }
  void fetch(std::uint64_t request, std::vector<listing_entry> entries, fetch_mode mode, std::uint64_t max_bytes,
             std::shared_ptr<fetch_budget::share> share) override {
    on([=, entries = std::move(entries), share = std::move(share)](Session& s) mutable {
      s.fetch(request, std::move(entries), mode, max_bytes, std::move(share));
    });
  }
  void apply(std::uint64_t request, std::vector<listing_entry> entries, mark what) override {
    on([=, entries = std::move(entries)](Session& s) mutable { s.apply(request, std::move(entries), what); });
  }
  void watch() override {
    on([](Session& s) { s.watch(); });
  }
  void count() override {
    on([](Session& s) { s.count(); });
  }
  void write_as(store::lease_guard guard) override {
    on([guard](Session& s) { s.write_as(guard); });
  }
  void close() override {
    on([](Session& s) { s.close(); });
  }

 private:
  template <class F>
  void on(F f) {
    reactor_.post([s = session_, f = std::move(f)]() mutable {
      if (s->serving()) f(*s);
    });
  }

  net::reactor& reactor_;
  std::shared_ptr<Session> session_;
};

}  // namespace mailherd::actors
