// tests/storage/postgres_fixture: a real PostgreSQL for tests: one private server per test binary, one fresh database per test.
//
// Owns:   the server (started by the first test that needs it, ended with the binary), its socket and data in a temporary directory; a migrated
//         template per kind of login; the database of each `test_database`.
// Never:  listens on TCP unless told to; touches another server of the machine; keeps data safe unless told to (fsync is off: it is thrown away).
// Errors: throws std::runtime_error: a test without its database has nothing to say.
// Threads: any; a `test_database` belongs to one test.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/connection.hpp"
#include "storage/keyring.hpp"

namespace mailherd::test {

/// As whom the node logs in: an ordinary role that owns its database, or a superuser that gives up its rights. Both must work.
enum class login { owner, superuser };

/// What the server of this binary is told, if not the usual.
struct server_settings {
  bool durable = false;        ///< as in production: for figures
  std::string listen = {};     ///< addresses for TCP, comma between; everybody who reaches them may log in
  unsigned connections = 60;
};

class test_database {
 public:
  /// Before the first database of this binary is made.
  static void configure_server(server_settings how);
  /// A URL as `url`, by TCP to one of the addresses it listens on, or to another port that leads there.
  [[nodiscard]] std::string tcp_url(const std::string& host, std::uint16_t port = tcp_port()) const;
  static std::uint16_t tcp_port();

  /// A copy of a migrated template (about 50 ms).
  explicit test_database(login who = login::owner);
  /// Without any schema: for tests of the migrations.
  static test_database empty(login who = login::owner);
  ~test_database();
  test_database(const test_database&) = delete;
  test_database& operator=(const test_database&) = delete;

  /// What a node would be given as its database.
  [[nodiscard]] const std::string& url() const noexcept { return url_; }
  /// The same database as the superuser who walks through every wall: for looking behind them, and for damage.
  [[nodiscard]] const std::string& superuser_url() const noexcept { return superuser_url_; }

  /// Ends the server of all databases, in order and without waiting for clients, and starts it again.
  static void restart_server();

  /// A connection as the stores use it.
  [[nodiscard]] std::unique_ptr<store::connection> connect() const;
  /// One statement as the superuser; the first column of the first row as text, empty for none and NULL.
  std::string query(const std::string& sql) const;  // NOLINT(modernize-use-nodiscard): often called for its effect

 private:
  test_database(login who, const char* from);
  const char* role_ = nullptr;
  std::string name_, url_, superuser_url_;
};

/// Keys for sealing in tests: the same in every run. `second`: a ring whose first key is another one and that also holds the first.
std::shared_ptr<const store::keyring> test_keys();
std::shared_ptr<const store::keyring> rotated_test_keys();

}  // namespace mailherd::test
