// storage/keyring: how credentials and client secrets are sealed at rest.
//
// Owns:   the operator's master keys, and the envelope around each sealed value: a fresh AES-256-GCM data key per value, wrapped by the
//         first master key (AES-256-GCM as well), with that key's id in clear so that keys can rotate while running.
// Never:  writes a key or a plaintext anywhere; opens a value under another context than it was sealed for (the context is authenticated:
//         a row copied to another tenant, channel or column cannot be opened there).
// Used by: storage/ (rows), node/ (reads and makes keyrings).
// Threads: immutable after construction; any thread. Never blocks.
// Errors:  without randomness from the system, or with a broken OpenSSL, all of them throw std::runtime_error: going on would repeat nonces
//          and give the key away.
// Limits:  the wrapping's nonces are random: a master key may seal 2^32 values (NIST SP 800-38D, 8.3), then another belongs in front of it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd::store {

class keyring {
 public:
  /// Text of a keyring: one key per line (or separated by commas), `<id>:<32 bytes in base64>`; ids are 1-32 characters of [a-z0-9_-] and
  /// unique; blank lines and lines that begin with # are skipped. The first key seals, all of them open.
  /// failure::invalid_input names the line and what is wrong with it, never its content.
  static result<std::shared_ptr<const keyring>> parse(const secret<>& text);

  /// A line with a fresh random key: "k" and 8 hexadecimal digits as its id.
  static secret<> generate();

  /// Seals `plain` for `context` (e.g. "credential/t3/c17/2/password"). Binary.
  [[nodiscard]] std::string seal(std::string_view context, std::string_view plain) const;

  /// failure::seal_failed, saying whether the key is missing (and its id) or the value was altered or is of another context.
  [[nodiscard]] result<secret<>> open(std::string_view context, std::string_view sealed) const;

  /// Id of the key that seals now; and of the key that a sealed value needs (empty: not a sealed value). For re-sealing after a rotation.
  [[nodiscard]] std::string_view sealing_id() const noexcept;
  [[nodiscard]] static std::string_view id_of(std::string_view sealed) noexcept;

 private:
  struct master_key {
    std::string id;
    secret<> key;
  };
  explicit keyring(std::vector<master_key> keys) : keys_(std::move(keys)) {}
  std::vector<master_key> keys_;
};

}  // namespace mailherd::store
