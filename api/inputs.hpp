// api/inputs: the objects of the API as JSON, coming in.
//
// Owns:   which fields a request may carry, what they must look like, and how a change is merged into what is there.
// Never:  looks into the store: whether an app exists is the handler's question.
// Used by: handlers.
#pragma once

#include <optional>
#include <string>

#include "api/json_input.hpp"
#include "core/model.hpp"
#include "storage/webhook_store.hpp"

namespace mailherd::api {

struct input_rules {
  bool allow_plaintext = false;  ///< the operator allows `tls: none` and http:// endpoints
  bool kafka = false;            ///< there is a Kafka cluster, and who asks is an operator
};

struct tenant_input {
  std::optional<std::string> name;
  std::optional<tenant_limits> limits;
};
/// `present`: the tenant that is changed, whose limits stay where none are named; nullptr: a new one, `name` is required.
tenant_input read_tenant(const json& body, const tenant_record* present, field_errors& errors);

/// The node of POST .../move.
std::string read_move(const json& body, field_errors& errors);

std::string read_key_name(const json& body, field_errors& errors);

/// A new app, or `present` with the changes of `body`. Secrets not named are empty (the store keeps what it has).
oauth_app read_app(const json& body, const oauth_app* present, const input_rules& rules, field_errors& errors);

struct channel_input {
  channel_spec spec;
  credential auth;
};
/// A new channel. `untested`: for test-connection, which needs neither name nor address.
channel_input read_channel(const json& body, bool untested, const input_rules& rules, field_errors& errors);
/// `present` with the changes of `body`; `auth` in it is an error.
channel_spec merge_channel(const json& body, const channel_spec& present, const input_rules& rules, field_errors& errors);
/// The body of PUT .../auth, or the member `auth` of a channel (`path` "auth").
credential read_auth(const json& body, const std::string& path, field_errors& errors);

// inputs_webhooks.cpp
/// A new endpoint, or `present` with the changes of `body`.
store::webhook_spec read_webhook(const json& body, const store::webhook_spec* present, const input_rules& rules, field_errors& errors);
/// How long the older secret signs too.
seconds read_rotation(const json& body, field_errors& errors);
struct replay_input {
  std::optional<std::int64_t> after;
  std::optional<wall_time> since;
};
/// One of both.
replay_input read_replay(const json& body, field_errors& errors);

}  // namespace mailherd::api
