#include "actors/grants.hpp"

#include <string>
#include <utility>

#include "core/limits.hpp"

namespace mailherd::actors {

result<loaded_grant> load_grant(store::session& s, const store::lease_guard& guard, std::int64_t generation) {
  auto loaded = s.mail.load_channel(guard.tenant, guard.channel);
  if (!loaded) return fail(loaded.error());
  loaded_grant g;
  g.lease_epoch = loaded->record.lease_epoch;
  g.protocol = loaded->record.spec.incoming.protocol;
  if (generation == loaded->record.generation) {
    g.who = std::move(loaded->credential);
  } else if (generation == loaded->record.observed_generation) {
    g.who = std::move(loaded->serving);
  } else {
    return fail(failure::cancelled, "a newer credential took the place of this one");
  }
  if (g.who.type != auth_type::oauth2) return fail(failure::invalid_input, "the channel does not sign in by OAuth2");
  if (loaded->app && loaded->app->id == g.who.app) {
    g.app = std::move(loaded->app);
  } else {
    auto app = s.admin.get_app(store::caller{}, guard.tenant, g.who.app);
    if (!app) return fail(app.error().code == failure::not_found ? error{failure::app_misconfigured, "the channel's OAuth app does not exist", {}} : app.error());
    g.app = std::move(*app);
  }
  return g;
}

void note_answer(const environment& env, const oauth_app& app, const std::optional<error>& refused, deadline until) {
  const bool bad = refused && refused->code == failure::app_misconfigured, good = !refused || refused->code == failure::consent_required;
  if (!bad && !(good && app.blocked_since)) return;
  env.report->log(bad ? log_level::warning : log_level::info, bad ? "provider refuses an OAuth app" : "provider accepts an OAuth app again",
                  {{"tenant", to_string(app.tenant)}, {"app", to_string(app.id)}, {"reason", bad ? describe(*refused) : std::string()}});
  const auto write = [tenant = app.tenant, id = app.id, revision = app.revision, bad,
                      why = bad ? refused->detail : std::string()](result<store::session*> s) {
    if (!s) return;   // the next answer says the same
    if (bad)
      static_cast<void>((*s)->mail.block_app(tenant, id, revision, why, limits::token_blocked_retry));
    else
      static_cast<void>((*s)->mail.unblock_app(tenant, id));
  };
  static_cast<void>(env.store->submit(until, write, true));
}

}  // namespace mailherd::actors
