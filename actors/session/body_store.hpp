// actors/session/body_store: turns the bytes of one message, as they arrive, into an `incoming_message`.
//
// Owns:   the digest over the raw bytes, the header block, and for a body above limits::inline_message_bytes the chunks written to the
//         store while the rest is still arriving (at most two in flight: the caller must stop reading while `must_wait`).
// Never:  changes a byte; holds more than inline_message_bytes + two chunks + header_parse_bytes of one message.
// Threads: the session's reactor. Chunk writes run on storage workers and come back by post.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/limits.hpp"
#include "storage/store.hpp"
#include "transport/net.hpp"

namespace mailherd::actors {

class body_store : public std::enable_shared_from_this<body_store> {
 public:
  /// `on_change` runs whenever a chunk has been written or has failed (the caller looks at must_wait() and failed()).
  body_store(net::reactor& where, store::executor& executor, store::lease_guard guard, std::function<void()> on_change);
  ~body_store();

  /// `announced`: size in the listing. A message that grows well past it is treated as a large one, so that a server that
  /// understates sizes cannot make the node hold more than its budget.
  void begin(std::uint64_t announced);
  void append(std::string_view bytes);
  /// No more bytes. The message is complete when `finished()`; for a small one that is now.
  void end();

  [[nodiscard]] bool must_wait() const {
    return in_flight_ >= 2 || (in_flight_ > 0 && pending_.size() >= 2 * limits::chunk_bytes) || (ended_ && !finished());
  }
  [[nodiscard]] bool finished() const { return ended_ && in_flight_ == 0 && (!spilled_ || written_all_); }
  [[nodiscard]] const std::optional<error>& failed() const { return failed_; }
  [[nodiscard]] bool spilled() const { return spilled_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// Fills size, digests, envelope and body (or blob). REQUIRED: finished() and not failed().
  void take(store::incoming_message& into);

  /// Digest and envelope of a header block alone (fetch_mode::headers). REQUIRED: ended.
  void take_headers(store::incoming_message& into);

 private:
  void keep_header();
  void open_blob();
  void write_chunks();

  net::reactor& reactor_;
  store::executor& executor_;
  store::lease_guard guard_;
  std::function<void()> on_change_;
  void* digest_ = nullptr;          ///< EVP_MD_CTX, reused from message to message
  std::shared_ptr<std::string> body_;
  std::string head_;                ///< the first limits::header_parse_bytes of a spilled body
  std::string pending_;             ///< bytes of a spilled body not yet handed to the store
  std::uint64_t size_ = 0;
  std::size_t inline_limit_ = 0;
  blob_id blob_;
  std::int32_t next_chunk_ = 0;
  unsigned in_flight_ = 0;
  bool spilled_ = false, ended_ = false, written_all_ = false;
  std::optional<error> failed_;
  std::uint64_t generation_ = 0;    ///< of the message: a late answer for an earlier one is ignored
};

/// SHA-256 of `bytes`.
sha256_digest digest_of(std::string_view bytes);

/// The part of `raw` that counts as its header block: up to and including the blank line, at most limits::header_parse_bytes.
std::string_view header_block(std::string_view raw);

}  // namespace mailherd::actors
