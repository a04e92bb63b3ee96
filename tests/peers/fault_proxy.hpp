// tests/peers/fault_proxy: a TCP proxy on loopback that breaks what passes through it.
//
// Owns:   a listening socket, its connections, one thread.
// Never:  looks into the bytes (TLS passes as it is).
// Threads: any; `set` takes effect at once for connections that exist and for new ones.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace mailherd::peers {

enum class cut_kind { fin, rst, stall };

/// Faults of one direction. Byte positions count from each connection's own first byte.
struct direction_faults {
  std::chrono::milliseconds delay{0};          ///< every byte arrives this much later
  std::chrono::milliseconds jitter{0};         ///< plus a pseudo-random part of this (seeded: the same in every run)
  std::size_t chunk = 0;                       ///< > 0: forwarded in pieces of at most so many bytes, each a segment
  std::size_t bytes_per_second = 0;            ///< > 0: throttled
  std::optional<std::uint64_t> cut_after = {};      ///< so many bytes pass, then `cut`
  cut_kind cut = cut_kind::rst;                ///< fin and rst end both sides of the connection; stall forwards nothing more
  std::optional<std::uint64_t> flip_at = {};        ///< the byte at this position has its lowest bit flipped
};

struct proxy_faults {
  direction_faults to_server = {};
  direction_faults to_client = {};
  bool hang_at_accept = false;  ///< new connections are not accepted (they complete in the kernel's queue and stay silent)
  bool refuse = false;          ///< new connections are refused: the port is closed meanwhile
  bool black_hole = false;      ///< nothing is forwarded in either direction, connections stay open
  bool reset_new = false;       ///< new connections are accepted and reset at once
};

class fault_proxy {
 public:
  /// Forwards to 127.0.0.1:`target_port`.
  explicit fault_proxy(std::uint16_t target_port, proxy_faults faults = {});
  ~fault_proxy();
  fault_proxy(const fault_proxy&) = delete;
  fault_proxy& operator=(const fault_proxy&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  void set(const proxy_faults& faults);
  void heal();                                  ///< no faults; what was stalled flows on
  void set_target(std::uint16_t target_port);   ///< for new connections
  /// Ends all present connections, both sides.
  void drop_all(cut_kind how = cut_kind::rst);
  [[nodiscard]] std::size_t accepted() const;   ///< connections so far
  [[nodiscard]] std::size_t open() const;
  [[nodiscard]] std::uint64_t bytes_to_client() const;
  [[nodiscard]] std::uint64_t bytes_to_server() const;
  void stop();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace mailherd::peers
