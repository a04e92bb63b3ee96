// api/inputs_webhooks: endpoints, rotations and replays coming in.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/inputs.hpp"
#include "api/rules.hpp"
#include "core/limits.hpp"

namespace mailherd::api {

namespace {

constexpr std::size_t most_channels = 1'000;

std::optional<std::string> event_name(const std::string& s) {
  const auto kind = store::event_kind_from(s);
  if (kind && *kind != store::event_kind::test && s == store::event_type(*kind)) return std::nullopt;
  return "must be one of: message.received, channel.state_changed";
}

std::optional<std::string> channel_name(const std::string& s) {
  return parse_id<channel_id>(s) ? std::nullopt : std::optional<std::string>("must be a channel's id, like c17");
}

std::optional<std::string> body_name(const std::string& s) {
  return store::webhook_body_from(s) ? std::nullopt : std::optional<std::string>("must be one of: envelope, text, raw");
}

/// A web address; or a topic, which only operators may name, since all tenants' events could go to one.
text_rule target_rule(const input_rules& rules) {
  return [web = rules::url(rules.allow_plaintext), kafka = rules.kafka](const std::string& s) -> std::optional<std::string> {
    constexpr std::string_view scheme = "kafka:";
    if (!s.starts_with(scheme)) return web(s);
    if (!kafka) return "kafka: is for operators of an installation with a Kafka cluster";
    const auto topic = std::string_view(s).substr(scheme.size());
    constexpr std::string_view known = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (topic.empty() || topic.size() > 249 || topic.find_first_not_of(known) != std::string_view::npos || topic == "." || topic == "..")
      return "must be kafka: and a topic of 1 to 249 letters, digits, dots, hyphens and underscores";
    return std::nullopt;
  };
}

}  // namespace

store::webhook_spec read_webhook(const json& body, const store::webhook_spec* present, const input_rules& rules, field_errors& errors) {
  object_reader in(body, "", errors);
  auto spec = present != nullptr ? *present : store::webhook_spec{};
  if (present == nullptr) in.required("url");
  if (auto v = in.text("url", target_rule(rules))) spec.url = *v;
  if (auto v = in.texts("events", 2, event_name)) {
    spec.events.clear();
    for (const auto& name : *v)
      if (const auto kind = *store::event_kind_from(name); std::find(spec.events.begin(), spec.events.end(), kind) == spec.events.end()) spec.events.push_back(kind);
    if (v->empty() && body.at("events").empty()) in.wrong("events", "must name at least one: message.received, channel.state_changed");
  }
  if (auto v = in.texts("channels", most_channels, channel_name)) {
    spec.channels.clear();
    for (const auto& id : *v) spec.channels.push_back(*parse_id<channel_id>(id));
  }
  if (auto v = in.text("body", body_name)) spec.body = *store::webhook_body_from(*v);
  if (auto v = in.integer("raw_bytes", 1, limits::webhook_raw_bytes_max)) spec.raw_bytes = *v;
  if (auto v = in.integer("max_in_flight", 1, limits::webhook_in_flight_max)) spec.max_in_flight = *v;
  if (in.is_null("max_per_second")) {
    in.required("max_per_second");
    spec.max_per_second = 0;
  } else if (auto rate = in.integer("max_per_second", 1, 100'000)) {
    spec.max_per_second = *rate;
  }
  if (auto v = in.boolean("enabled")) spec.enabled = *v;
  in.finish();
  return spec;
}

seconds read_rotation(const json& body, field_errors& errors) {
  object_reader in(body, "", errors);
  const auto life = in.integer("old_valid_seconds", 0, limits::webhook_old_secret_life.count());
  in.finish();
  return life ? seconds(*life) : limits::webhook_old_secret_life;
}

replay_input read_replay(const json& body, field_errors& errors) {
  object_reader in(body, "", errors);
  replay_input out;
  const auto position = [](const std::string& s) -> std::optional<std::string> {
    std::int64_t n = 0;
    const auto [end, bad] = std::from_chars(s.data(), s.data() + s.size(), n);
    if (s.empty() || bad != std::errc{} || end != s.data() + s.size() || n < 0) return "must be a `next` of the feed, like \"1042\"";
    return std::nullopt;
  };
  const auto time = [](const std::string& s) -> std::optional<std::string> {
    return rules::parse_time(s) ? std::nullopt : std::optional<std::string>("must be an RFC 3339 time like 2026-01-31T00:00:00Z");
  };
  if (body.contains("after") == body.contains("since")) in.wrong("after", "exactly one of after (a `next` of the feed) and since (a time) is required");
  if (auto v = in.text("after", position)) out.after = std::stoll(*v);
  if (auto v = in.text("since", time)) out.since = rules::parse_time(*v);
  in.finish();
  return out;
}

}  // namespace mailherd::api
