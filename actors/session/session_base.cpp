// actors/session/session_base: see the header.
#include "actors/session/session_base.hpp"

#include <fmt/format.h>

#include <utility>

namespace mailherd::actors {

namespace {
// One grant: large enough that a drain is not bound by wake-ups; the bytes live in the reactor's buffer, not in the session.
constexpr std::size_t read_bytes = 256 * limits::kib;
constexpr std::uint64_t progress_bytes = 4 * limits::mib;
}  // namespace

void session_base::start() {
  // The attempt's one deadline runs from here to the selected mailbox.
  opening_until_ = reactor_.now() + times().attempt;
  enter("dns", times().attempt);
  net::target to;
  to.host = plan_.incoming.host;
  to.port = plan_.incoming.port;
  to.implicit_tls = plan_.incoming.tls == tls_mode::implicit;
  to.proxy = plan_.incoming.proxy;
  auto self = shared_from_this();
  attempt_ = env_.dialer->dial(
      reactor_, std::move(to), mailherd::deadline{opening_until_},
      [self](result<std::unique_ptr<net::connection>> c) {
        auto keep = std::move(self->attempt_);
        if (self->over_) return;
        if (!c) return self->finish(c.error());
        self->connection_ = std::move(*c);
        self->on_connected();
        if (!self->over_) self->grant_read();
      },
      [self](std::string_view step, const net::connection_info& info) {
        if (self->over_) return;
        const bool proxied = self->plan_.incoming.proxy.has_value();
        self->phase_ = step == "dns" ? "tcp" : step == "tcp" && proxied ? "proxy" : step == "tcp" || step == "proxy" ? "tls" : "greeting";
        std::string detail;
        if (step == "tls") {
          detail = info.tls_version;
          if (info.certificate_expires_at) {
            const auto days = std::chrono::duration_cast<std::chrono::hours>(*info.certificate_expires_at - self->env_.wall_now()).count() / 24;
            detail += fmt::format(", certificate of {} valid for {} more days", info.certificate_subject, days);
          }
        } else if (step == "tcp") {
          detail = info.peer;
        }
        self->report(session_event::progressed{std::string(step), std::move(detail)});
      });
}

void session_base::abort() {
  if (over_) return;
  over_ = true;
  attempt_.reset();
  timer_.reset();
  on_finished();
  // The connection may be calling us right now: it dies after this call has returned.
  reactor_.post([c = std::shared_ptr<net::connection>(std::move(connection_)), self = shared_from_this()] {});
}

void session_base::report(any_session_event event) {
  if (over_) return;
  listener_(std::make_shared<session_report>(session_report{plan_.epoch, std::move(event)}));
}

void session_base::report_bytes(std::size_t bytes) {
  bytes_untold_ += bytes;
  if (bytes_untold_ < progress_bytes) return;
  bytes_untold_ = 0;
  report(session_event::progressed{"fetch", {}});
}

void session_base::finish(error reason, bool orderly) {
  if (over_) return;
  session_event::ended e;
  e.reason = std::move(reason);
  e.phase = std::string(phase_);
  e.orderly = orderly;
  describe_loss(e);
  report(std::move(e));
  if (orderly && connection_) connection_->close();
  abort();
}

void session_base::send(std::string bytes) {
  if (over_ || bytes.empty() || !connection_) return;
  connection_->write(std::move(bytes));
}

void session_base::start_tls() {
  phase_ = "tls";
  auto self = shared_from_this();
  connection_->start_tls(mailherd::deadline{opening_until_}, [self](result<void> r) {
    if (self->over_) return;
    if (!r) return self->finish(r.error());
    const auto& info = self->connection_->info();
    self->report(session_event::progressed{"tls", info.tls_version});
    self->on_tls();
    if (!self->over_) self->grant_read();
  });
}

void session_base::enter(std::string_view phase, duration limit) {
  phase_ = phase;
  limit_ = limit;
  deadline_ = reactor_.now() + limit;
  if (opening_until_ != mono_time{} && deadline_ > opening_until_ && (phase == "greeting" || phase == "authentication" || phase == "mailbox")) {
    deadline_ = opening_until_;
  }
  if (!timer_ || deadline_ < armed_for_) arm();
}

void session_base::arm() {
  armed_for_ = deadline_;
  timer_ = reactor_.at(deadline_, [self = weak_from_this()] {
    auto s = self.lock();
    if (!s || s->over_) return;
    // A deadline that moved on while the timer slept costs one more sleep, not a timer per read.
    if (s->reactor_.now() < s->deadline_) return s->arm();
    if (s->on_deadline()) {
      if (!s->over_) s->arm();
      return;
    }
    s->finish(error{failure::timed_out, fmt::format("no answer in phase \"{}\" for {} s", s->phase_,
                                                    std::chrono::duration_cast<seconds>(s->limit_).count()), {}});
  });
}

void session_base::unpause() {
  paused_ = false;
  grant_read();
}

void session_base::grant_read() {
  if (reading_ || paused_ || over_ || !connection_) return;
  if (phase_ == "tls" && !connection_->encrypted() && plan_.incoming.tls == tls_mode::starttls) return;  // the handshake reads now
  reading_ = true;
  connection_->read(read_bytes, [self = shared_from_this()](result<std::string_view> bytes) {
    self->reading_ = false;
    if (self->over_) return;
    if (!bytes) return self->finish(self->why_ended(bytes.error()));
    self->on_bytes(*bytes);
    if (!self->over_) self->grant_read();
  });
}

}  // namespace mailherd::actors
