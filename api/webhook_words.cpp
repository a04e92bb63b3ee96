#include "api/webhook_words.hpp"

#include "api/model_json.hpp"
#include "api/rules.hpp"
#include "core/base64.hpp"
#include "core/limits.hpp"

namespace mailherd::api {

namespace {

std::string enclose(store::event_kind kind, wall_time at, out_json data) {
  out_json j{{"type", store::event_type(kind)}, {"timestamp", rules::format_time(at)}};
  j["data"] = std::move(data);
  return dump(j);
}

/// At most `most` bytes; nullopt if there is no body (any more).
result<std::optional<std::string>> read_raw(store::session& db, const store::stored_message& m, std::size_t most) {
  std::string raw;
  raw.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(m.size, most)));
  auto read = db.admin.read_body({}, m.id, [&](std::string_view bytes) {
    raw.append(bytes.substr(0, most - raw.size()));
    return raw.size() < most;
  });
  if (!read && read.error().code == failure::not_found) return std::optional<std::string>();
  if (!read) return fail(read.error());
  return std::optional(std::move(raw));
}

/// `raw` may be the first part of the message's `size` bytes.
std::string with_content(out_json data, const std::string& raw, std::uint64_t size, wall_time received_at) {
  auto content = mime::parse_content(raw);
  if (raw.size() < size) content.notes.emplace_back("only the first part of the message was read for this; raw gives all of it");
  add_content(data, raw, content);
  data.erase("headers");
  return enclose(store::event_kind::message, received_at, std::move(data));
}

}  // namespace

result<std::optional<store::event_body>> webhook_words::message(store::session& db, const store::webhook_spec& to, const store::stored_message& m) const {
  auto data = to_json(m);
  const auto self = base_ + "/v1/tenants/" + to_string(m.id.tenant) + "/messages/" + to_string(m.id);
  data["links"] = {{"self", self}, {"raw", m.has_body ? out_json(self + "/raw") : out_json(nullptr)}};
  store::event_body out;
  if (to.body == store::webhook_body::text && m.has_body) {
    auto raw = read_raw(db, m, limits::webhook_parse_bytes);
    if (!raw) return fail(raw.error());
    if (*raw) {
      out.holds = (*raw)->size();
      out.rest = [data = std::move(data), raw = std::move(**raw), size = m.size, at = m.received_at] { return with_content(data, raw, size, at); };
      return std::optional(std::move(out));
    }
  }
  if (to.body == store::webhook_body::raw) {
    data["raw"] = nullptr;
    if (m.has_body && m.size <= static_cast<std::uint64_t>(to.raw_bytes)) {
      auto raw = read_raw(db, m, static_cast<std::size_t>(m.size));
      if (!raw) return fail(raw.error());
      if (*raw) data["raw"] = base64_encode(**raw);
    }
  }
  out.text = enclose(store::event_kind::message, m.received_at, std::move(data));
  return std::optional(std::move(out));
}

result<std::optional<store::event_body>> webhook_words::state(store::session& db, tenant_id tenant, const store::state_event& e) const {
  auto channel = db.admin.get_channel({}, tenant, e.channel);
  if (!channel && channel.error().code == failure::not_found) return std::optional<store::event_body>();
  if (!channel) return fail(channel.error());
  // The channel as it is, in the state that this event tells: it may have gone on meanwhile.
  if (const auto state = parse_name<channel_state>(e.state)) channel->state = *state;
  channel->state_reason = e.reason;
  channel->state_detail = e.detail;
  channel->state_since = e.at;
  store::event_body out;
  out.text = enclose(store::event_kind::state, e.at, to_json(*channel));
  return std::optional(std::move(out));
}

std::string webhook_words::test(const store::webhook_key& key, const store::delivery_record& d, wall_time now) const {
  return enclose(store::event_kind::test, now, {{"tenant", to_string(key.tenant)}, {"webhook", to_string(key.webhook)}, {"delivery", to_string(d.id)}});
}

}  // namespace mailherd::api
