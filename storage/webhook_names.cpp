// storage/webhook_names: the stable names of kinds of events and bodies.
#include "storage/webhook_store.hpp"

namespace mailherd::store {

std::string_view to_string(event_kind k) noexcept {
  switch (k) {
    case event_kind::message: return "message";
    case event_kind::state: return "state";
    case event_kind::test: return "test";
  }
  return "message";
}

std::string_view event_type(event_kind k) noexcept {
  switch (k) {
    case event_kind::message: return "message.received";
    case event_kind::state: return "channel.state_changed";
    case event_kind::test: return "webhook.test";
  }
  return "message.received";
}

std::optional<event_kind> event_kind_from(std::string_view name) noexcept {
  for (const auto k : {event_kind::message, event_kind::state, event_kind::test})
    if (name == to_string(k) || name == event_type(k)) return k;
  return std::nullopt;
}

std::string_view to_string(webhook_body b) noexcept {
  switch (b) {
    case webhook_body::envelope: return "envelope";
    case webhook_body::text: return "text";
    case webhook_body::raw: return "raw";
  }
  return "envelope";
}

std::optional<webhook_body> webhook_body_from(std::string_view name) noexcept {
  for (const auto b : {webhook_body::envelope, webhook_body::text, webhook_body::raw})
    if (name == to_string(b)) return b;
  return std::nullopt;
}

}  // namespace mailherd::store
