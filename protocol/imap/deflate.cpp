// protocol/imap/deflate: see the header.
#include "protocol/imap/deflate.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <new>

#include "core/limits.hpp"

namespace mailherd::imap {

namespace {
constexpr std::size_t piece_bytes = 32 * limits::kib;
// RFC 1951, 3.2.4: the length field has 16 bits.
constexpr std::size_t stored_block_bytes = 65'535;
// inflate's state and its 32 KB window, which zlib takes when a block first refers back.
constexpr std::size_t inflater_bytes = 44 * limits::kib;
}  // namespace

struct deflate_layer::inflater {
  z_stream stream{};
  inflater() {
    // Raw deflate, without zlib's header (RFC 4978, 3). Fails for want of memory only.
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }
  ~inflater() { inflateEnd(&stream); }
  inflater(const inflater&) = delete;
  inflater& operator=(const inflater&) = delete;
};

deflate_layer::deflate_layer() = default;
deflate_layer::~deflate_layer() = default;

void deflate_layer::receive(std::string_view packed) {
  if (!in_) in_ = std::make_unique<inflater>();
  // zlib takes no const, and changes nothing.
  in_->stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  in_->stream.avail_in = static_cast<uInt>(packed.size());
  unpacked_ = 0;
}

result<std::string_view> deflate_layer::next_piece() {
  if (!in_) return std::string_view{};
  auto& z = in_->stream;
  if (ended_) {
    if (z.avail_in > 0) return fail(failure::protocol_violation, "bytes behind the end of the compressed stream");
    return std::string_view{};
  }
  if (!piece_) piece_ = std::make_unique<char[]>(piece_bytes);
  z.next_out = reinterpret_cast<Bytef*>(piece_.get());
  z.avail_out = static_cast<uInt>(piece_bytes);
  const int status = inflate(&z, Z_SYNC_FLUSH);
  if (status == Z_MEM_ERROR) throw std::bad_alloc();
  if (status == Z_STREAM_END) ended_ = true;
  // Z_BUF_ERROR: nothing is left to be done with what is there. What came out before the damage counts, however the stream was cut.
  damaged_ = damaged_ || (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR);
  const std::size_t n = piece_bytes - z.avail_out;
  if (damaged_ && n == 0) return fail(failure::protocol_violation, "the compressed stream is damaged");
  unpacked_ += n;
  if (unpacked_ > limits::imap_inflated_bytes)
    return fail(failure::limit_exceeded,
                fmt::format("compressed bytes that unpack into more than {} MB", limits::imap_inflated_bytes / limits::mib));
  if (n == 0) {
    piece_.reset();
    if (ended_ && z.avail_in > 0) return next_piece();
  }
  return std::string_view(piece_.get(), n);
}

std::string deflate_layer::pack(std::string_view plain) {
  std::string out;
  out.reserve(plain.size() + 5 * (plain.size() / stored_block_bytes + 1));
  while (!plain.empty()) {
    const auto n = std::min(plain.size(), stored_block_bytes);
    const auto low = static_cast<unsigned>(n & 0xFF), high = static_cast<unsigned>(n >> 8);
    // Not the last block, stored; the length; its complement. Every block begins on a byte.
    for (const unsigned byte : {0u, low, high, low ^ 0xFFu, high ^ 0xFFu}) out += static_cast<char>(byte);
    out += plain.substr(0, n);
    plain.remove_prefix(n);
  }
  return out;
}

std::size_t deflate_layer::heap_bytes() const noexcept { return sizeof(*this) + (in_ ? inflater_bytes : 0) + (piece_ ? piece_bytes : 0); }

}  // namespace mailherd::imap
