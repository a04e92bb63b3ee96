// api/handlers_webhooks: endpoints, what was delivered to them, and doing it again.
#include <fmt/format.h>

#include <chrono>

#include "api/handlers.hpp"
#include "api/inputs.hpp"
#include "api/model_json.hpp"
#include "api/rules.hpp"
#include "api/service.hpp"
#include "api/tokens.hpp"

namespace mailherd::api::handle {

namespace {

std::string path_of(const call& c, webhook_id id) { return fmt::format("/v1/tenants/{}/webhooks/{}", to_string(c->tenant), to_string(id)); }

input_rules rules_for(const service& s, const call& c) {
  auto rules = s.rules;
  rules.kafka = s.settings.kafka && !c->who.only;
  return rules;
}

wall_time now() { return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now()); }

/// With an endpoint's id out of the path; answers 404 by itself.
void in_webhooks(service& s, const call& c, std::function<response(store::webhook_store&, webhook_id)> work) {
  const auto id = c->args.size() > 1 ? parse_id<webhook_id>(c->args[1]) : std::optional(webhook_id{});
  if (!id) return s.finish(c, not_found());
  s.in_store(c, [&s, id = *id, work = std::move(work)](store::session& db) -> response {
    if (db.webhooks == nullptr) return s.failed({failure::internal, "this store has no webhooks", {}});
    return work(*db.webhooks, id);
  });
}

response shown(service& s, const result<store::webhook_record>& w, int status = 200) {
  return w ? json_answer(status, dump(to_json(*w))) : s.failed(w.error());
}

/// With the secret, which is in this answer and in no other: also not in one remembered for an Idempotency-Key.
response with_secret(const call& c, const store::webhook_record& w, const secret<>& signing, int status) {
  auto j = to_json(w);
  j["secret"] = nullptr;
  c->remembered_body = dump(j);
  j["secret"] = signing.reveal();
  auto r = json_answer(status, dump(j));
  if (status == 201) r.headers.emplace_back("Location", path_of(c, w.id));
  return r;
}

}  // namespace

void create_webhook(service& s, const call& c) {
  field_errors errors;
  const auto spec = read_webhook(c->body, nullptr, rules_for(s, c), errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  in_webhooks(s, c, [&s, c, spec](store::webhook_store& hooks, webhook_id) -> response {
    const auto signing = fresh_webhook_secret();
    auto made = hooks.create(c->who, c->tenant, spec, signing);
    return made ? with_secret(c, *made, signing, 201) : s.failed(made.error());
  });
}

void list_webhooks(service& s, const call& c) {
  const auto page = s.read_paging(c);
  if (!page) return;
  in_webhooks(s, c, [&s, c, page = *page](store::webhook_store& hooks, webhook_id) -> response {
    auto found = hooks.list(c->who, c->tenant, page.limit, page.after);
    return found ? json_answer(200, dump(to_page(found->items, found->next))) : s.failed(found.error());
  });
}

void get_webhook(service& s, const call& c) {
  in_webhooks(s, c, [&s, c](store::webhook_store& hooks, webhook_id id) { return shown(s, hooks.get(c->who, c->tenant, id)); });
}

void edit_webhook(service& s, const call& c) {
  in_webhooks(s, c, [&s, c](store::webhook_store& hooks, webhook_id id) -> response {
    auto present = hooks.get(c->who, c->tenant, id);
    if (!present) return s.failed(present.error());
    field_errors errors;
    const auto spec = read_webhook(c->body, &present->spec, rules_for(s, c), errors);
    if (!errors.empty()) return invalid_fields(errors.all());
    return shown(s, hooks.update(c->who, c->tenant, id, spec));
  });
}

void delete_webhook(service& s, const call& c) {
  in_webhooks(s, c, [&s, c](store::webhook_store& hooks, webhook_id id) -> response {
    if (auto gone = hooks.remove(c->who, c->tenant, id); !gone) return s.failed(gone.error());
    return no_content();
  });
}

void rotate_webhook(service& s, const call& c) {
  field_errors errors;
  const auto life = read_rotation(c->body, errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  in_webhooks(s, c, [&s, c, life](store::webhook_store& hooks, webhook_id id) -> response {
    const auto signing = fresh_webhook_secret();
    auto changed = hooks.rotate(c->who, c->tenant, id, signing, now() + life);
    return changed ? with_secret(c, *changed, signing, 200) : s.failed(changed.error());
  });
}

void replay_webhook(service& s, const call& c) {
  field_errors errors;
  const auto from = read_replay(c->body, errors);
  if (!errors.empty()) return s.finish(c, invalid_fields(errors.all()));
  in_webhooks(s, c, [&s, c, from](store::webhook_store& hooks, webhook_id id) -> response {
    auto after = hooks.replay(c->who, c->tenant, id, from.after, from.since);
    return after ? json_answer(202, dump({{"after", std::to_string(*after)}})) : s.failed(after.error());
  });
}

void test_webhook(service& s, const call& c) {
  in_webhooks(s, c, [&s, c](store::webhook_store& hooks, webhook_id id) -> response {
    auto asked = hooks.ask_test(c->who, c->tenant, id);
    return asked ? json_answer(202, dump({{"delivery", to_string(*asked)}})) : s.failed(asked.error());
  });
}

void list_deliveries(service& s, const call& c) {
  const auto page = s.read_paging(c);
  if (!page) return;
  const auto state = c->query.contains("state") ? c->query.at("state") : std::string();
  if (!state.empty() && state != "retrying" && state != "delivered" && state != "failed" && state != "dead" && state != "pending")
    return s.finish(c, invalid_request({{"state", "must be one of: delivered, failed, dead, pending, retrying"}}));
  in_webhooks(s, c, [&s, c, page = *page, state](store::webhook_store& hooks, webhook_id id) -> response {
    if (state == "retrying") {
      auto found = hooks.stalls(c->who, c->tenant, id);
      if (!found) return s.failed(found.error());
      auto j = out_json{{"items", out_json::array()}, {"next", nullptr}};
      for (const auto& stall : *found) j["items"].push_back(to_json(c->tenant, stall));
      return json_answer(200, dump(j));
    }
    auto found = hooks.deliveries(c->who, c->tenant, id, state, page.limit, page.after);
    return found ? json_answer(200, dump(to_page(found->items, found->next))) : s.failed(found.error());
  });
}

void retry_delivery(service& s, const call& c) {
  const auto delivery = parse_id<delivery_id>(c->args[2]);
  if (!delivery) return s.finish(c, not_found());
  in_webhooks(s, c, [&s, c, delivery = *delivery](store::webhook_store& hooks, webhook_id id) -> response {
    auto done = hooks.ask_again(c->who, c->tenant, id, delivery);
    return done ? json_answer(202, dump({{"delivery", to_string(delivery)}})) : s.failed(done.error());
  });
}

}  // namespace mailherd::api::handle
