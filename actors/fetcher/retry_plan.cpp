#include "actors/fetcher/retry_plan.hpp"

#include <algorithm>

#include "core/backoff.hpp"
#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
constexpr backoff_policy lost_connection{seconds(1), seconds(300), 2.0, 0.5};
/// What only a person can mend is tried again now and then all the same: passwords are unlocked, rights are granted, without a word to us.
constexpr backoff_policy wants_a_person{seconds(15 * 60), seconds(3600), 2.0, 0.75};
/// The first tries come soon: servers refuse good passwords now and then.
constexpr backoff_policy refused_at_first{seconds(20), seconds(120), 2.0, 0.5};
constexpr unsigned first_tries = 2;
/// Asked to slow down without being told for how long.
constexpr backoff_policy slow_down{seconds(60), seconds(900), 2.0, 0.75};
}  // namespace

bool passing(failure f) noexcept {
  const auto a = action_for(f);
  return a == action::retry_later || a == action::retry_now || a == action::skip_message || f == failure::cancelled;
}

retry_plan plan_retry(const error& reason, unsigned attempt, bool well, wall_time now, std::uint64_t random) {
  retry_plan p;
  const auto seldom = [&](unsigned before) { return backoff_delay(wants_a_person, attempt > before ? attempt - before : 0, random); };
  p.wait = backoff_delay(lost_connection, attempt, random);
  switch (action_for(reason.code)) {
    case action::stop:
      // The provider says that we repeat ourselves: nothing is asked again before somebody looked at it. The rest was withdrawn: once more.
      if (reason.code == failure::request_loop) p.state = channel_state::app_blocked, p.until_changed = true;
      break;
    case action::retry_now:
    case action::retry_later:
    case action::skip_message: p.no_news = attempt == 0 && well; break;
    case action::refresh_token:
      // A fresh token was refused as well: no number of tries helps, and only the token endpoint may call for a person.
      if (attempt >= first_tries) p.wait = seldom(first_tries);
      break;
    case action::reconsent: p.state = channel_state::needs_reauth, p.until_changed = true; break;
    case action::admin_action: p.state = channel_state::needs_admin, p.wait = seldom(0); break;
    case action::app_blocked: p.state = channel_state::app_blocked, p.wait = seldom(0); break;
    case action::fix_config:
      if (reason.code == failure::login_rejected) p.state = channel_state::needs_reauth;
      p.wait = attempt < first_tries ? backoff_delay(refused_at_first, attempt, random) : seldom(first_tries);
      break;
  }
  const bool named = reason.retry_at.has_value();
  const duration until = named ? std::max<duration>(*reason.retry_at - now, seconds(1)) : duration::zero();
  if (reason.code == failure::throttled) {
    // The time the server named, exactly: earlier is hammering, and no connection is held meanwhile.
    p.state = channel_state::throttled;
    p.no_news = false;
    p.hold = true;
    p.wait = named ? until : backoff_delay(slow_down, attempt, random);
  } else {
    p.wait = std::max(p.wait, until);
  }
  return p;
}

}  // namespace mailherd::actors
