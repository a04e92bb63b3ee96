// node/config: what a node is told: a TOML file, the environment, flags; the later wins.
//
// Owns:   the table of settings (settings.cpp), their three spellings, the reading of each source, and the one line that says
//         what is wrong, where, and how to mend it.
// Never:  accepts a key it does not know; shows a secret in an error; opens a socket or a database.
// Used by: main (reads), node (obeys).
// Threads: start of the program, one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/telemetry.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "core/secret.hpp"

namespace mailherd::node {

/// Every setting, read and checked. Defaults are in the table, not here.
struct config {
  secret<> database_url;               ///< empty: an embedded server under `data_dir`
  std::filesystem::path data_dir;
  std::string listen, metrics_listen;  ///< metrics_listen empty: none
  std::string public_url;
  std::string node_name;
  std::vector<secret<>> admin_tokens;  ///< empty: not given
  secret<> master_key;                 ///< a keyring's text; empty: not given
  std::string ca_file;
  std::string kafka_config;            ///< the text of kafka_config_file; empty: no Kafka
  std::string private_targets;         ///< as target_policy::parse takes it; it has been tried
  std::string bind_address;
  bool allow_plaintext = false;
  bool json_logs = false;
  actors::log_level log_level = actors::log_level::info;
  seconds lease_ttl{}, poll_interval{}, stop_grace{};
  unsigned network_threads = 0, actor_threads = 0, storage_workers = 0;   ///< 0: chosen from the machine's cores
  unsigned logins_per_host = 0, logins_per_node = 0;
  std::size_t max_channels = 0;
  std::int64_t retention_days = 0;     ///< 0: for ever
  std::string warning;                 ///< one sentence that the log should begin with; empty: none

  /// For error lines: "listen (MAILHERD_LISTEN)", "listen (mailherd.toml:3)", "listen (default)".
  [[nodiscard]] std::string where(std::string_view setting) const;

  std::map<std::string, std::string, std::less<>> origins;   ///< name → where it was given; nothing for defaults
};

/// One row of the table. MAILHERD_X_Y, x_y and --x-y are spellings of the same name.
struct setting {
  enum class kind { text, yes_or_no, secret };
  std::string_view name;      ///< as in the file: "lease_ttl"
  std::string fallback;       ///< applied first; empty: nothing
  std::string_view meaning;   ///< for --help and the documentation
  kind is = kind::text;
  /// Takes the value into the config. Returns what is wrong with it and how to mend it; empty if nothing is. Never repeats a secret.
  std::string (*apply)(config&, const std::string& value) = nullptr;
};

const std::vector<setting>& settings();
std::string variable_of(std::string_view name);   ///< "MAILHERD_LEASE_TTL"
std::string flag_of(std::string_view name);       ///< "--lease-ttl"

/// What one source said: setting → value and place.
struct given {
  std::string value;
  std::string origin;
};
using layer = std::map<std::string, given, std::less<>>;

/// Errors (all failure::invalid_input): one line each.
result<layer> read_file(const std::filesystem::path& path);
/// `environment`: NAME=value, ended by a null pointer. What Kubernetes adds by itself for services (MAILHERD_PORT_8080_TCP=…) is passed
/// over, and so are empty values.
result<layer> read_environment(const char* const* environment);

/// Merges (the later wins), checks, reads the files that hold secrets.
result<config> resolve(const std::vector<layer>& layers);

/// All of it. `file`: from --config; without it MAILHERD_CONFIG names the file, if any.
result<config> load(const std::string& file, const char* const* environment, const layer& flags);

/// Operator tokens, one a line. The error says what is wrong and repeats nothing.
result<std::vector<secret<>>> parse_tokens(const std::string& text);

/// The nearest of `known` to a word nobody knows, to ask "did you mean"; empty if nothing is near.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace mailherd::node
