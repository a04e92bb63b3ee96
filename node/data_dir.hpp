// node/data_dir: the directory of a node that runs its own database.
//
// Owns:   the directory, the lock that keeps a second node out of it, the token and the keys generated into it (mode 0600).
// Never:  replaces a key or a token that exists; follows a half-written file (they appear whole or not at all).
// Used by: node. Blocks; one thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd::node {

class data_dir {
 public:
  static constexpr std::string_view token_file = "admin-token";   ///< `mailherd ctl` looks for it under this name
  static constexpr std::string_view key_file = "master-key";

  /// Makes it if it is missing and locks it until this object ends (or the program, however it ends). failure::invalid_input (not
  /// writable), conflict (another node is in it).
  static result<data_dir> open(const std::filesystem::path& path);

  data_dir(data_dir&& other) noexcept;
  data_dir& operator=(data_dir&&) = delete;
  ~data_dir();

  /// What the file holds; if there is none it is made with what `make` returns, and `made` says so.
  struct held {
    secret<> value;
    bool made = false;
  };
  [[nodiscard]] result<held> secret_in(std::string_view file, const std::function<secret<>()>& make) const;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  data_dir(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::filesystem::path path_;   ///< absolute
  int lock_ = -1;
};

/// 32 random bytes in hexadecimal.
secret<> random_token();

}  // namespace mailherd::node
