#include "api/feed_stream.hpp"

#include <fmt/format.h>

#include "api/model_json.hpp"
#include "core/limits.hpp"

namespace mailherd::api {

feed_stream::feed_stream(std::shared_ptr<service> s, store::caller who, tenant_id tenant, std::optional<channel_id> channel, std::int64_t after,
                         std::shared_ptr<void> place)
    : service_(std::move(s)),
      who_(std::move(who)),
      tenant_(tenant),
      channel_(channel),
      after_(after),
      place_(std::move(place)),
      end_(mono_clock::now() + limits::api_feed_stream_life) {}

void feed_stream::next(std::function<void(result<std::string>)> on_piece) {
  // The first bytes tell the client that it is connected, and how soon to come back when it is not any more.
  if (!std::exchange(begun_, true)) return on_piece(std::string("retry: 1000\n\n"));
  look(std::move(on_piece), mono_clock::now() + limits::api_feed_beat);
}

void feed_stream::look(std::function<void(result<std::string>)> on_piece, mono_time beat_at) {
  // A life without an end would keep a revoked key's reader for ever, and hide from a balancer that this node is to be left.
  if (service_->waiters().stopping() || mono_clock::now() >= end_) return on_piece(std::string());
  const auto seen = service_->waiters().wakes(tenant_);
  auto self = shared_from_this();
  const auto job = [self, on_piece, beat_at, seen](result<store::session*> db) {
    if (!db) return on_piece(fail(db.error()));
    auto items = (*db)->admin.feed(self->who_, self->tenant_, self->channel_, self->after_, limits::api_feed_stream_page);
    if (!items) return on_piece(fail(items.error()));
    if (!items->empty()) {
      std::string text;
      for (const auto& m : *items) text += fmt::format("id: {}\nevent: message.received\ndata: {}\n\n", m.id.position, dump(to_json(m)));
      self->after_ = items->back().id.position;
      return on_piece(std::move(text));
    }
    self->service_->loop->post([self, on_piece, beat_at, seen] {
      const auto left = std::chrono::ceil<milliseconds>(beat_at - mono_clock::now());
      if (left <= milliseconds(0)) return on_piece(std::string(": still here\n\n"));
      self->service_->waiters().wait(self->tenant_, seen, std::min<milliseconds>(left, limits::api_feed_recheck),
                                     [self, on_piece, beat_at] { self->look(on_piece, beat_at); });
    });
  };
  if (!service_->store.submit(deadline::after(mono_clock::now(), limits::api_job_deadline), job)) on_piece(fail(failure::store_busy));
}

}  // namespace mailherd::api
