// api/model_json: the objects of the API as JSON, going out.
//
// Owns:   the names and forms of every field that leaves (docs/openapi.yaml describes them; a test compares).
// Never:  writes a secret: it does not read one. Bytes that are not UTF-8 become U+FFFD.
// Used by: handlers.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "actors/control.hpp"
#include "core/model.hpp"
#include "protocol/mime/mime.hpp"
#include "storage/store.hpp"
#include "storage/webhook_store.hpp"

namespace mailherd::api {

using out_json = nlohmann::ordered_json;  ///< keeps the order written here: people read it

std::string dump(const out_json& j);

out_json to_json(const tenant_record& t);
out_json to_json(const store::api_key_record& k);
out_json to_json(const oauth_app& a);
out_json to_json(const channel_record& c);
out_json to_json(const store::channel_event& e);
out_json to_json(const store::stored_message& m);
out_json to_json(const store::node_record& n);
out_json to_json(const actors::test_report& r);
out_json to_json(const store::consent& c);
out_json to_json(const actors::app_setup& s);
out_json to_json(const store::webhook_record& w);
out_json to_json(const store::delivery_record& d);
out_json to_json(tenant_id tenant, const store::stall_record& s);

/// The members that a message has only when it is shown alone: headers, text, html, attachments, notes. `raw` may be the first part only.
void add_content(out_json& message, std::string_view raw, const mime::content& content);

/// {"items": [...], "next": cursor or null}
template <class T>
out_json to_page(const std::vector<T>& items, const std::string& next) {
  out_json j;
  j["items"] = out_json::array();
  for (const auto& item : items) j["items"].push_back(to_json(item));
  if (next.empty())
    j["next"] = nullptr;
  else
    j["next"] = next;
  return j;
}

/// What a person should do about the channel, or null.
out_json advice_of(const channel_record& c);

}  // namespace mailherd::api
