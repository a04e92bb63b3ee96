// api/handlers_tenants: tenants, their API keys, their OAuth apps.
#include <fmt/format.h>

#include <algorithm>

#include "api/handlers.hpp"
#include "api/model_json.hpp"
#include "api/service.hpp"
#include "api/tokens.hpp"

namespace mailherd::api::handle {

namespace {

response created(const std::string& path, std::string body) {
  auto r = json_answer(201, std::move(body));
  r.headers.emplace_back("Location", path);
  return r;
}

}  // namespace

// ---- tenants
// ------------------------------------------------------------------------------------------------------------------------------

void create_tenant(service& s, const call& c) {
  field_errors errors;
  const auto in = read_tenant(c->body, nullptr, errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  s.in_store(c, [&s, in](store::session& db) -> response {
    auto made = db.admin.create_tenant(*in.name, in.limits.value_or(tenant_limits{}));
    if (!made) return s.failed(made.error());
    return created("/v1/tenants/" + to_string(made->id), dump(to_json(*made)));
  });
}

void list_tenants(service& s, const call& c) {
  const auto page = s.read_paging(c);
  if (!page) return;
  s.in_store(c, [&s, c, page = *page](store::session& db) -> response {
    auto found = db.admin.list_tenants(c->who, page.limit, page.after);
    return found ? json_answer(200, dump(to_page(found->items, found->next))) : s.failed(found.error());
  });
}

void get_tenant(service& s, const call& c) {
  s.in_store(c, [&s, c](store::session& db) -> response {
    auto found = db.admin.get_tenant(c->who, c->tenant);
    return found ? json_answer(200, dump(to_json(*found))) : s.failed(found.error());
  });
}

void edit_tenant(service& s, const call& c) {
  s.in_store(c, [&s, c](store::session& db) -> response {
    auto present = db.admin.get_tenant(c->who, c->tenant);
    if (!present) return s.failed(present.error());
    field_errors errors;
    const auto in = read_tenant(c->body, &*present, errors);
    if (!errors.empty()) return invalid_fields(errors.all());
    auto changed = db.admin.update_tenant(c->tenant, in.name, in.limits);
    return changed ? json_answer(200, dump(to_json(*changed))) : s.failed(changed.error());
  });
}

void delete_tenant(service& s, const call& c) {
  s.in_store(c, [&s, c](store::session& db) -> response {
    if (auto gone = db.admin.delete_tenant(c->tenant); !gone) return s.failed(gone.error());
    s.forget_keys();
    return no_content();
  });
}

// ---- API keys
// -----------------------------------------------------------------------------------------------------------------------------

void create_key(service& s, const call& c) {
  field_errors errors;
  const auto name = read_key_name(c->body, errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  s.in_store(c, [&s, c, name](store::session& db) -> response {
    const auto nonce = random_nonce();
    const auto key = api_key_of(s.settings.operator_tokens.front(), nonce);
    auto made = db.admin.create_api_key(c->who, c->tenant, name, digest_of(key.reveal()));
    if (!made) return s.failed(made.error());
    auto shown = to_json(*made);
    shown["key"] = "derive:" + nonce;
    c->remembered_body = dump(shown);
    shown["key"] = key.reveal();
    return created(fmt::format("/v1/tenants/{}/api-keys/{}", to_string(c->tenant), to_string(made->id)), dump(shown));
  });
}

void list_keys(service& s, const call& c) {
  const auto page = s.read_paging(c);
  if (!page) return;
  s.in_store(c, [&s, c, page = *page](store::session& db) -> response {
    auto found = db.admin.list_api_keys(c->who, c->tenant);
    if (!found) return s.failed(found.error());
    // The store gives all of a tenant's keys, which are few; the page is cut here so that every list of the API behaves alike.
    const auto after = parse_id<api_key_id>(page.after);
    if (!page.after.empty() && !after) return invalid_request({{"after", "must be the `next` of an earlier page"}});
    std::sort(found->begin(), found->end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    std::vector<store::api_key_record> items;
    std::string next;
    for (const auto& k : *found) {
      if (after && k.id <= *after) continue;
      if (items.size() == page.limit) {
        next = to_string(items.back().id);
        break;
      }
      items.push_back(k);
    }
    return json_answer(200, dump(to_page(items, next)));
  });
}

void delete_key(service& s, const call& c) {
  const auto key = parse_id<api_key_id>(c->args[1]);
  if (!key) return s.finish(c, not_found());
  s.in_store(c, [&s, c, key = *key](store::session& db) -> response {
    if (auto gone = db.admin.delete_api_key(c->who, c->tenant, key); !gone) return s.failed(gone.error());
    s.forget_keys();
    return no_content();
  });
}

// ---- OAuth apps
// ---------------------------------------------------------------------------------------------------------------------------

void create_app(service& s, const call& c) {
  field_errors errors;
  auto app = read_app(c->body, nullptr, s.rules, errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  app.tenant = c->tenant;
  s.in_store(c, [&s, c, app](store::session& db) -> response {
    auto made = db.admin.create_app(c->who, app);
    if (!made) return s.failed(made.error());
    return created(fmt::format("/v1/tenants/{}/oauth-apps/{}", to_string(c->tenant), to_string(made->id)), dump(to_json(*made)));
  });
}

void list_apps(service& s, const call& c) {
  const auto page = s.read_paging(c);
  if (!page) return;
  s.in_store(c, [&s, c, page = *page](store::session& db) -> response {
    auto found = db.admin.list_apps(c->who, c->tenant, page.limit, page.after);
    return found ? json_answer(200, dump(to_page(found->items, found->next))) : s.failed(found.error());
  });
}

void get_app(service& s, const call& c) {
  const auto app = parse_id<app_id>(c->args[1]);
  if (!app) return s.finish(c, not_found());
  s.in_store(c, [&s, c, app = *app](store::session& db) -> response {
    auto found = db.admin.get_app(c->who, c->tenant, app);
    return found ? json_answer(200, dump(to_json(*found))) : s.failed(found.error());
  });
}

void edit_app(service& s, const call& c) {
  const auto app = parse_id<app_id>(c->args[1]);
  if (!app) return s.finish(c, not_found());
  s.in_store(c, [&s, c, app = *app](store::session& db) -> response {
    auto present = db.admin.get_app(c->who, c->tenant, app);
    if (!present) return s.failed(present.error());
    field_errors errors;
    const auto wanted = read_app(c->body, &*present, s.rules, errors);
    if (!errors.empty()) return invalid_fields(errors.all());
    auto changed = db.admin.update_app(c->who, wanted);
    return changed ? json_answer(200, dump(to_json(*changed))) : s.failed(changed.error());
  });
}

void delete_app(service& s, const call& c) {
  const auto app = parse_id<app_id>(c->args[1]);
  if (!app) return s.finish(c, not_found());
  s.in_store(c, [&s, c, app = *app](store::session& db) -> response {
    if (auto gone = db.admin.delete_app(c->who, c->tenant, app); !gone) return s.failed(gone.error());
    return no_content();
  });
}

}  // namespace mailherd::api::handle
