// api/webhook_words: what webhooks say: {"type", "timestamp", "data"}, in the API's own words for messages and channels.
//
// Owns:   the bodies. Links in them are absolute: a receiver need not know where the API is.
// Never:  signs or sends; holds a whole large message in memory (limits::webhook_parse_bytes, raw_bytes of the endpoint).
// Used by: node, which gives these functions to the deliverer. Threads: storage workers; what takes mail apart is left for a thread that is none of theirs.
#pragma once

#include <optional>
#include <string>

#include "storage/store.hpp"
#include "storage/webhook_store.hpp"

namespace mailherd::api {

class webhook_words {
 public:
  /// `base`: the API's public URL, without a slash at its end.
  explicit webhook_words(std::string base) : base_(std::move(base)) {}

  /// nullopt: it is no more.
  result<std::optional<store::event_body>> message(store::session& db, const store::webhook_spec& to, const store::stored_message& m) const;
  result<std::optional<store::event_body>> state(store::session& db, tenant_id tenant, const store::state_event& e) const;
  std::string test(const store::webhook_key& key, const store::delivery_record& d, wall_time now) const;

 private:
  std::string base_;
};

}  // namespace mailherd::api
