// protocol/imap/deflate: the layer that COMPRESS=DEFLATE puts between the dialogue and the wire (RFC 4978).
//
// Owns:   the inflating state of one session (about 45 KB with its window, taken when the first bytes come) and one piece of plain bytes.
// Never:  compresses what we send: commands are small, and a compressor costs more memory than an idle session may; they travel in stored
//         blocks (RFC 1951, 3.2.4), which every inflater reads. Unpacks more than one piece ahead: a bomb costs time, never memory, and
//         the time is bounded by limits::imap_inflated_bytes for the bytes of one read.
// Used by: the engine. Not thread-safe, throws nothing but bad_alloc.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace mailherd::imap {

class deflate_layer {
 public:
  deflate_layer();
  ~deflate_layer();
  deflate_layer(const deflate_layer&) = delete;
  deflate_layer& operator=(const deflate_layer&) = delete;

  /// Packed bytes of the peer. REQUIRED: `next_piece` has returned an empty piece since the last call. Must live until it does again.
  void receive(std::string_view packed);
  /// The next plain bytes, valid until the next call; empty: more packed bytes are needed.
  /// Errors: protocol_violation (no deflate stream, or bytes behind its end), limit_exceeded.
  result<std::string_view> next_piece();
  /// `plain` as it goes on the wire.
  [[nodiscard]] static std::string pack(std::string_view plain);

  [[nodiscard]] std::size_t heap_bytes() const noexcept;

 private:
  struct inflater;
  std::unique_ptr<inflater> in_;
  std::unique_ptr<char[]> piece_;       ///< while bytes flow
  std::size_t unpacked_ = 0;            ///< since receive()
  bool ended_ = false;                  ///< the peer's stream is complete
  bool damaged_ = false;
};

}  // namespace mailherd::imap
