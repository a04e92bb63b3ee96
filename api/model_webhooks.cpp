// api/model_webhooks: endpoints and deliveries as JSON, going out.
#include "api/model_json.hpp"
#include "api/rules.hpp"

namespace mailherd::api {

namespace {

out_json time_or_null(const std::optional<wall_time>& t) { return t ? out_json(rules::format_time(*t)) : out_json(nullptr); }
out_json text_or_null(const std::string& s) { return s.empty() ? out_json(nullptr) : out_json(s); }

std::string event_id(tenant_id tenant, store::event_kind kind, std::int64_t position) {
  if (kind == store::event_kind::message) return to_string(message_id{tenant, position});
  return "s" + std::to_string(tenant.value) + "-" + std::to_string(position);
}

}  // namespace

out_json to_json(const store::webhook_record& w) {
  out_json j{{"id", to_string(w.id)}, {"tenant", to_string(w.tenant)}, {"url", w.spec.url}};
  j["events"] = out_json::array();
  for (const auto e : w.spec.events) j["events"].push_back(store::event_type(e));
  j["channels"] = out_json::array();
  for (const auto c : w.spec.channels) j["channels"].push_back(to_string(c));
  j["body"] = to_string(w.spec.body);
  j["raw_bytes"] = w.spec.raw_bytes;
  j["max_in_flight"] = w.spec.max_in_flight;
  j["max_per_second"] = w.spec.max_per_second > 0 ? out_json(w.spec.max_per_second) : out_json(nullptr);
  j["enabled"] = w.spec.enabled;
  j["disabled_reason"] = text_or_null(w.disabled_reason);
  j["circuit"] = w.open_until ? "open" : "closed";
  j["next_attempt_at"] = time_or_null(w.open_until);
  j["failing_since"] = time_or_null(w.failing_since);
  j["position"] = std::to_string(w.position);
  j["head"] = std::to_string(w.head);
  j["retrying"] = w.stalled;
  j["dead"] = w.dead;
  j["old_secret_until"] = time_or_null(w.old_secret_until);
  j["created_at"] = rules::format_time(w.created_at);
  return j;
}

out_json to_json(const store::delivery_record& d) {
  return {{"id", to_string(d.id)},
          {"state", d.state},
          {"type", store::event_type(d.kind)},
          {"webhook_id", d.event},
          {"channel", d.channel ? out_json(to_string(d.channel)) : out_json(nullptr)},
          {"sequence", d.kind == store::event_kind::message ? out_json(d.sequence) : out_json(nullptr)},
          {"attempts", d.attempts},
          {"at", rules::format_time(d.at)},
          {"next_attempt_at", nullptr},
          {"ms", d.took.count()},
          {"status", d.status > 0 ? out_json(d.status) : out_json(nullptr)},
          {"error", text_or_null(d.error)},
          {"request", text_or_null(d.request)},
          {"response", text_or_null(d.response)}};
}

out_json to_json(tenant_id tenant, const store::stall_record& s) {
  return {{"id", nullptr},
          {"state", "retrying"},
          {"type", store::event_type(s.kind)},
          {"webhook_id", event_id(tenant, s.kind, s.position)},
          {"channel", to_string(s.channel)},
          {"sequence", nullptr},
          {"attempts", s.attempts},
          {"at", time_or_null(s.first_failed_at)},
          {"next_attempt_at", rules::format_time(s.next_attempt_at)},
          {"ms", nullptr},
          {"status", s.status > 0 ? out_json(s.status) : out_json(nullptr)},
          {"error", text_or_null(s.error)},
          {"request", nullptr},
          {"response", nullptr}};
}

}  // namespace mailherd::api
