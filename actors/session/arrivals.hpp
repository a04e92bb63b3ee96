// actors/session/arrivals: the messages that are arriving in one fetch, in order, until they are handed to the actor in batches.
//
// Owns:   one body_store per message whose bytes are not all in place, the order of arrival, the batch.
// Never:  hands a message over before those that arrived ahead of it; holds more than the request's share of the node's budget plus 64 KiB
//         per message (a message that turns out larger than the server announced goes to the store in chunks).
// Used by: imap_session, pop3_session; exists only while they fetch, so that an idle session owns nothing of it.
// Threads: the session's reactor.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "actors/session/body_store.hpp"
#include "actors/session/session.hpp"

namespace mailherd::actors {

class arrivals {
 public:
  using hand_over = std::function<void(std::vector<store::incoming_message>)>;

  /// `on_change`: a large body made progress; look at must_wait() and failed().
  arrivals(net::reactor& where, store::executor& executor, store::lease_guard guard, fetch_mode mode, std::function<void()> on_change,
           hand_over out);

  /// A message begins; `announced` is its size in the listing.
  void begin(std::uint64_t announced);
  void append(std::string_view bytes) { current_->append(bytes); }
  /// No more bytes of it. Its source and date may still be unknown (IMAP names the UID where it likes).
  void end() { current_->end(); }
  /// Everything is known: `source`, `internal_date` are filled in, the rest comes from the bytes.
  void complete(message_source source, wall_time internal_date);
  /// The message that began will never be complete: its bytes are dropped.
  void drop() { current_.reset(); }

  [[nodiscard]] bool in_message() const { return current_ != nullptr; }
  [[nodiscard]] std::uint64_t current_size() const { return current_ ? current_->size() : 0; }
  /// No further bytes should be read now.
  [[nodiscard]] bool must_wait() const;
  [[nodiscard]] const error* failed() const;
  [[nodiscard]] bool empty() const { return pending_.empty() && ready_.empty() && !current_; }

  /// Hands over what is complete, if it is a batch or `all`.
  void flush(bool all);

 private:
  struct pending {
    store::incoming_message message;
    std::shared_ptr<body_store> body;
  };
  void settle();

  net::reactor& reactor_;
  store::executor& executor_;
  store::lease_guard guard_;
  fetch_mode mode_;
  std::function<void()> on_change_;
  hand_over out_;
  std::shared_ptr<body_store> current_, spare_;   ///< spare: digest context and capacity used again
  std::deque<pending> pending_;                   ///< complete, but with chunks still on their way, and what is behind those
  std::vector<store::incoming_message> ready_;
  std::size_t ready_bytes_ = 0;
};

/// One fetch the actor asked for, until `fetch_done`.
struct fetch_request {
  std::uint64_t id = 0;
  std::size_t outstanding = 0;             ///< commands or messages not answered yet
  std::uint64_t max_bytes = 0;
  fetch_mode mode = fetch_mode::body;
  std::unique_ptr<arrivals> in;
  std::shared_ptr<fetch_budget::share> share;
  session_event::fetch_done outcome;

  [[nodiscard]] bool done() const { return outstanding == 0 && in->empty(); }
};

}  // namespace mailherd::actors
