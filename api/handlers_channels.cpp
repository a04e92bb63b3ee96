// api/handlers_channels: channels, their credentials, their tests, their history.
#include <fmt/format.h>

#include "api/handlers.hpp"
#include "api/model_json.hpp"
#include "api/service.hpp"
#include "core/limits.hpp"

namespace mailherd::api::handle {

namespace {

constexpr unsigned edit_tries = 3;

std::optional<channel_id> channel_of(service& s, const call& c) {
  const auto id = parse_id<channel_id>(c->args[1]);
  if (!id) s.finish(c, not_found());
  return id;
}

// The app a credential names must be there and fit its grant: an answer if not. `prefix`: the credential's place in the request.
std::optional<response> check_app(service& s, const call& c, store::session& db, const credential& auth, const std::string& prefix,
                                  std::optional<oauth_app>* found) {
  if (auth.type != auth_type::oauth2) return std::nullopt;
  auto app = db.admin.get_app(c->who, c->tenant, auth.app);
  if (!app && app.error().code == failure::not_found) return invalid_fields({{prefix + "app", "is not an OAuth app of this tenant"}});
  if (!app) return s.failed(app.error());
  const bool custom = app->provider == provider_kind::custom && auth.refresh_token.empty();
  if (custom && app->issuer.empty() && auth.grant == grant_kind::authorization_code && app->authorize_url.empty())
    return invalid_fields({{prefix + "grant", "needs an app with an authorize_url"}});
  if (custom && app->issuer.empty() && auth.grant == grant_kind::device_code && app->device_url.empty())
    return invalid_fields({{prefix + "grant", "needs an app with a device_url"}});
  if (found != nullptr) *found = std::move(*app);
  return std::nullopt;
}

// Hands the subject to the running node; its report is the answer.
void run_test(service& s, const call& c, actors::test_subject subject) {
  auto self = s.shared_from_this();
  s.control.test(std::move(subject), deadline::after(mono_clock::now(), limits::attempt_deadline),
                 [self, c](result<actors::test_report> report) {
                   if (report) return self->finish(c, json_answer(200, dump(to_json(*report))));
                   if (report.error().code == failure::store_busy)
                     return self->finish(c, unavailable("Too many connection tests are running.", 2));
                   self->finish(c, self->failed(report.error()));
                 });
}

}  // namespace

void create_channel(service& s, const call& c) {
  field_errors errors;
  const auto in = read_channel(c->body, false, s.rules, errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  s.in_store(c, [&s, c, in](store::session& db) -> response {
    if (auto tenant = db.admin.get_tenant(c->who, c->tenant); !tenant) return s.failed(tenant.error());
    if (auto wrong = check_app(s, c, db, in.auth, "auth.", nullptr)) return std::move(*wrong);
    auto made = db.admin.create_channel(c->who, c->tenant, in.spec, in.auth, c->actor);
    if (!made) return s.failed(made.error());
    s.control.changed(c->tenant, made->id);
    auto r = json_answer(201, dump(to_json(*made)));
    r.headers.emplace_back("Location", fmt::format("/v1/tenants/{}/channels/{}", to_string(c->tenant), to_string(made->id)));
    return r;
  });
}

void list_channels(service& s, const call& c) {
  const auto page = s.read_paging(c);
  if (!page) return;
  store::channel_filter filter;
  if (const auto state = c->query.find("state"); state != c->query.end()) {
    filter.state = parse_name<channel_state>(state->second);
    if (!filter.state) return s.finish(c, invalid_request({{"state", "must be one of: " + names_of<channel_state>()}}));
  }
  if (const auto node = c->query.find("node"); node != c->query.end()) filter.node = node->second;
  if (const auto q = c->query.find("q"); q != c->query.end()) filter.text = q->second;
  s.in_store(c, [&s, c, filter, page = *page](store::session& db) -> response {
    if (auto tenant = db.admin.get_tenant(c->who, c->tenant); !tenant) return s.failed(tenant.error());
    auto found = db.admin.list_channels(c->who, c->tenant, filter, page.limit, page.after);
    return found ? json_answer(200, dump(to_page(found->items, found->next))) : s.failed(found.error());
  });
}

void get_channel(service& s, const call& c) {
  const auto id = channel_of(s, c);
  if (!id) return;
  s.in_store(c, [&s, c, id = *id](store::session& db) -> response {
    auto found = db.admin.get_channel(c->who, c->tenant, id);
    return found ? json_answer(200, dump(to_json(*found))) : s.failed(found.error());
  });
}

void edit_channel(service& s, const call& c) {
  const auto id = channel_of(s, c);
  if (!id) return;
  s.in_store(c, [&s, c, id = *id](store::session& db) -> response {
    error last{failure::conflict, {}, {}};
    for (unsigned i = 0; i < edit_tries; ++i) {
      auto present = db.admin.get_channel(c->who, c->tenant, id);
      if (!present) return s.failed(present.error());
      field_errors errors;
      const auto spec = merge_channel(c->body, present->spec, s.rules, errors);
      if (!errors.empty()) return invalid_fields(errors.all());
      auto changed = db.admin.update_channel(c->who, c->tenant, id, spec, present->revision, c->actor);
      if (changed) {
        s.control.changed(c->tenant, id);
        return json_answer(200, dump(to_json(*changed)));
      }
      last = changed.error();
      if (last.code != failure::conflict) break;  // somebody else edited between: merge into what is there now
    }
    return s.failed(last);
  });
}

void delete_channel(service& s, const call& c) {
  const auto id = channel_of(s, c);
  if (!id) return;
  s.in_store(c, [&s, c, id = *id](store::session& db) -> response {
    if (auto gone = db.admin.delete_channel(c->who, c->tenant, id); !gone) return s.failed(gone.error());
    s.control.changed(c->tenant, id);
    return no_content();
  });
}

void put_auth(service& s, const call& c) {
  const auto id = channel_of(s, c);
  if (!id) return;
  field_errors errors;
  const auto auth = read_auth(c->body, "", errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  s.in_store(c, [&s, c, id = *id, auth](store::session& db) -> response {
    if (auto channel = db.admin.get_channel(c->who, c->tenant, id); !channel) return s.failed(channel.error());
    if (auto wrong = check_app(s, c, db, auth, "", nullptr)) return std::move(*wrong);
    auto generation = db.admin.put_credential(c->who, c->tenant, id, auth, c->actor);
    if (!generation) return s.failed(generation.error());
    s.control.changed(c->tenant, id);
    return json_answer(202, dump({{"generation", *generation}}));
  });
}

void test_channel(service& s, const call& c) {
  const auto id = channel_of(s, c);
  if (!id) return;
  s.in_store_then(c, [&s, c, id = *id](store::session& db) -> std::optional<response> {
    // First with the caller's rights: `load_channel` knows no walls.
    if (auto mine = db.admin.get_channel(c->who, c->tenant, id); !mine) return s.failed(mine.error());
    auto loaded = db.mail.load_channel(c->tenant, id);
    if (!loaded) return s.failed(loaded.error());
    if (!loaded->record.has_grant)
      return problem(409, "consent-pending", "Consent pending", "There is no consent to test with yet: press Connect and sign in first.");
    actors::test_subject subject{c->tenant, id, loaded->record.generation, loaded->record.spec.incoming, loaded->credential, loaded->app,
                                  loaded->record.spec.address};
    run_test(s, c, std::move(subject));
    return std::nullopt;
  });
}

void test_connection(service& s, const call& c) {
  field_errors errors;
  const auto in = read_channel(c->body, true, s.rules, errors);
  if (errors.empty() && in.auth.type == auth_type::oauth2 && in.auth.refresh_token.empty() &&
      in.auth.grant != grant_kind::client_credentials)
    errors.add("auth.refresh_token", "is required here: without consent there is nothing to sign in with");
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  s.in_store_then(c, [&s, c, in](store::session& db) -> std::optional<response> {
    if (auto tenant = db.admin.get_tenant(c->who, c->tenant); !tenant) return s.failed(tenant.error());
    std::optional<oauth_app> app;
    if (auto wrong = check_app(s, c, db, in.auth, "auth.", &app)) return std::move(*wrong);
    run_test(s, c, {c->tenant, {}, 0, in.spec.incoming, in.auth, std::move(app), in.spec.address});
    return std::nullopt;
  });
}

void move_channel(service& s, const call& c) {
  const auto id = channel_of(s, c);
  if (!id) return;
  field_errors errors;
  const auto node = read_move(c->body, errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  s.in_store(c, [&s, c, id = *id, node](store::session& db) -> response {
    auto asked = db.admin.move_channel(c->who, c->tenant, id, node, c->actor);
    if (asked) return json_answer(202, dump({{"node", node}}));
    switch (asked.error().code) {
      case failure::invalid_input: return problem(404, "no-such-node", "No such node", "There is no node of this name.");
      case failure::conflict: return problem(409, "cannot-move", "Cannot move", "This channel cannot go there: " + asked.error().detail + ".");
      default: return s.failed(asked.error());
    }
  });
}

void list_events(service& s, const call& c) {
  const auto id = channel_of(s, c);
  const auto page = id ? s.read_paging(c) : std::nullopt;
  if (!page) return;
  s.in_store(c, [&s, c, id = *id, page = *page](store::session& db) -> response {
    if (auto mine = db.admin.get_channel(c->who, c->tenant, id); !mine) return s.failed(mine.error());
    auto found = db.admin.list_events(c->who, c->tenant, id, page.limit, page.after);
    return found ? json_answer(200, dump(to_page(found->items, found->next))) : s.failed(found.error());
  });
}

}  // namespace mailherd::api::handle
