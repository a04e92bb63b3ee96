// api/feed_stream: the feed as server-sent events: each message once, in order, as soon as it can be read; the client's `Last-Event-ID` goes on.
//
// Owns:   one reader's place in the feed, its beats when nothing comes, the end of its life.
// Never:  holds more than one page; keeps a worker while it waits; goes on without a client (the server drops it with its connection).
// Used by: handlers_messages. Threads: `next` on the HTTP thread; reading on a storage worker; waiting on the HTTP thread again.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/http.hpp"
#include "api/service.hpp"

namespace mailherd::api {

class feed_stream final : public body_source, public std::enable_shared_from_this<feed_stream> {
 public:
  /// `place`: given back when the reader has gone.
  feed_stream(std::shared_ptr<service> s, store::caller who, tenant_id tenant, std::optional<channel_id> channel, std::int64_t after,
              std::shared_ptr<void> place);

  void next(std::function<void(result<std::string>)> on_piece) override;

 private:
  void look(std::function<void(result<std::string>)> on_piece, mono_time beat_at);

  std::shared_ptr<service> service_;
  store::caller who_;
  tenant_id tenant_;
  std::optional<channel_id> channel_;
  std::int64_t after_;
  std::shared_ptr<void> place_;
  mono_time end_;
  bool begun_ = false;
};

}  // namespace mailherd::api
