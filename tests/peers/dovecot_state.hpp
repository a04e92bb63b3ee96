// tests/peers/dovecot_state: what dovecot_server's two source files share.
//
// Owns:   the state behind dovecot_server. Never included elsewhere.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <optional>
#include <string>

#include "tests/peers/dovecot_config.hpp"
#include "tests/peers/dovecot_server.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"
#include "tests/peers/test_ca.hpp"

namespace mailherd::peers {

struct dovecot_server::state {
  dovecot_options options;
  temp_dir own_dir{"dovecot"};  ///< sockets always; everything else too unless options.root can be used
  dovecot_places places;
  std::filesystem::path config;
  std::optional<test_ca> ca;
  certificate tls;
  uid_t mail_uid = 0;
  gid_t mail_gid = 0;
  std::atomic<std::uint64_t> delivered{0};
  std::optional<process> server;  ///< last: it ends before its files go

  /// Gives a file to the mail user, when root.
  void own(const std::filesystem::path& path) const;
  void write_user(const mail_user& user) const;
  void launch();
  /// Starts, again with other ports if need be. Throws after a few tries.
  void begin(bool new_ports);
  /// kill -9, and what it leaves.
  void end();
};

}  // namespace mailherd::peers
