// Device codes (RFC 8628): the node that began asks the provider until the person has finished, or the code is over.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "actors/consent/connector.hpp"
#include "actors/consent/parts.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {

/// RFC 8628, 3.5: by so much the pauses grow when the provider says slow_down, or does not answer.
constexpr seconds slower{5};
constexpr seconds interval_max{60};

}  // namespace

void connector::watch(store::consent c, const store::consent_subject& subject) {
  auto d = std::make_shared<device>();
  d->interval = std::clamp(c.interval, seconds(1), interval_max);
  d->c = std::move(c);
  d->subject = subject;
  ++devices_;
  d->counted = std::shared_ptr<void>(static_cast<void*>(&devices_), [me = shared_from_this()](void*) { --me->devices_; });
  ask_later(d);
}

/// The timer holds the device, the device the timer: both go when it fires, or with the reactor.
void connector::ask_later(const std::shared_ptr<device>& d) {
  auto& reactor = *env_.reactors.front();
  reactor.post([me = shared_from_this(), d, &reactor] {
    d->timer = reactor.at(reactor.now() + d->interval, [me, d] {
      auto fired = std::move(d->timer);
      if (!me->stopped_) me->ask_device(d);
    });
  });
}

void connector::ask_device(const std::shared_ptr<device>& d) {
  const auto until = deadline::after(now(), limits::token_deadline);
  const auto build = [me = shared_from_this(), d](const oauth_app& app, oauth2::client_auth how) {
    return oauth2::build_device_poll_request(app, d->subject.channel.spec.incoming.protocol, d->c.hidden, me->env_.wall_now(), how);
  };
  ask_token_endpoint(env_, token_question{d->subject.app, build, grant_kind::device_code, d->proof}, until,
                     [me = shared_from_this(), d](token_answer answer) {
                       d->proof = answer.used;
                       me->on_device_answer(d, std::move(answer.reply));
                     });
}

void connector::on_device_answer(const std::shared_ptr<device>& d, result<oauth2::token_reply> reply) {
  if (stopped_) return;
  const bool waiting = !reply && reply.error().code == failure::token_unavailable;
  if (waiting && env_.wall_now() < d->c.expires_at) {
    const auto& why = reply.error();
    // "Not yet" asks for the usual pause; a longer one, or no answer at all, is a wish for fewer questions.
    const bool usual = why.retry_at && *why.retry_at - env_.wall_now() <= slower;
    if (!usual) d->interval = std::min(d->interval + slower, interval_max);
    return ask_later(d);
  }
  auto l = std::make_shared<landing>();
  l->c = d->c;
  l->subject = d->subject;
  l->until = deadline::after(now(), limits::consent_deadline);
  l->on_done = [me = shared_from_this(), d](result<consent_outcome> out) {
    if (!out)
      me->env_.report->log(log_level::warning, "connector could not finish a device's consent",
                           {{"channel", to_string(d->c.channel)}, {"reason", describe(out.error())}});
  };
  if (reply) return take_grant(l, std::move(*reply));
  if (waiting) return end(l, consent_end::expired, "nobody entered the code in time");
  if (reply.error().code == failure::consent_required)
    return end(l, consent_end::declined, fmt::format("consent was declined, or the code is over ({})", reply.error().detail));
  end_by(l, reply.error());
}

}  // namespace mailherd::actors
