// actors/session/arrivals: see the header.
#include "actors/session/arrivals.hpp"

#include <utility>

#include "core/limits.hpp"

namespace mailherd::actors {

namespace {
// A batch for the actor: large enough that a message per mail does not matter, small enough that storing begins while more arrives.
constexpr std::size_t batch_bytes = 256 * limits::kib;
constexpr std::size_t batch_messages = 100;
}  // namespace

arrivals::arrivals(net::reactor& where, store::executor& executor, store::lease_guard guard, fetch_mode mode, std::function<void()> on_change,
                   hand_over out)
    : reactor_(where), executor_(executor), guard_(guard), mode_(mode), on_change_(std::move(on_change)), out_(std::move(out)) {}

void arrivals::begin(std::uint64_t announced) {
  current_ = spare_ ? std::move(spare_) : std::make_shared<body_store>(reactor_, executor_, guard_, on_change_);
  spare_.reset();
  current_->begin(announced);
}

void arrivals::complete(message_source source, wall_time internal_date) {
  store::incoming_message m;
  m.source = std::move(source);
  m.internal_date = internal_date;
  pending_.push_back({std::move(m), std::move(current_)});
  current_.reset();
  settle();
}

void arrivals::settle() {
  while (!pending_.empty() && pending_.front().body->finished() && !pending_.front().body->failed()) {
    auto p = std::move(pending_.front());
    pending_.pop_front();
    if (mode_ == fetch_mode::headers) {
      p.body->take_headers(p.message);
    } else {
      p.body->take(p.message);
    }
    ready_bytes_ += p.message.body ? p.message.body->size() : 0;
    ready_.push_back(std::move(p.message));
    if (!p.body->spilled()) spare_ = std::move(p.body);
  }
}

bool arrivals::must_wait() const {
  if (current_ && current_->must_wait()) return true;
  for (const auto& p : pending_)
    if (p.body->must_wait()) return true;
  return false;
}

const error* arrivals::failed() const {
  if (current_ && current_->failed()) return &*current_->failed();
  for (const auto& p : pending_)
    if (p.body->failed()) return &*p.body->failed();
  return nullptr;
}

void arrivals::flush(bool all) {
  settle();
  if (ready_.empty() || (!all && ready_bytes_ < batch_bytes && ready_.size() < batch_messages)) return;
  ready_bytes_ = 0;
  out_(std::exchange(ready_, {}));
}

}  // namespace mailherd::actors
