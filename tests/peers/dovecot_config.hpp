// tests/peers/dovecot_config: the text of Dovecot's configuration files.
//
// Owns:   what is written into dovecot.conf and the passdbs' argument files. Facts about Dovecot 2.3 live here.
// Never:  starts anything. Used by dovecot_server only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "tests/peers/dovecot_server.hpp"

namespace mailherd::peers {

struct dovecot_places {
  std::filesystem::path root, run_dir, mail_dir, password_dir, log_file;
  std::string address;
  std::uint16_t imap = 0, imaps = 0, pop3 = 0, pop3s = 0, lmtp = 0;
  bool as_root = false;
  std::string self_user, self_group;  ///< when not root: everything runs as these
};

/// Writes dovecot.conf and its companions into places.root; returns the path of dovecot.conf.
std::filesystem::path write_dovecot_config(const dovecot_options& options, const dovecot_places& places, const certificate& tls);

}  // namespace mailherd::peers
