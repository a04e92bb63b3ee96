// tests/storage/embedded: the embedded PostgreSQL lives, dies, comes back and is found again; and nobody else gets in.
#include "storage/embedded.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"
#include "tests/storage/embedded_world.hpp"

/// ThreadSanitizer's: a node to be killed is forked here beside the thread that starts the tests' other processes, and has threads itself.
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace mailherd::store {
namespace {

using namespace embedded_world;
using testing::HasSubstr;
using testing::Not;

/// Making database files takes seconds: these tests share one data directory, each with a server of its own.
class Embedded : public testing::Test {
 public:
  static void SetUpTestSuite() {
    shared = new peers::temp_dir("embedded");
    auto first = start(data_dir());
    ASSERT_EQ(ask(*first, "CREATE TABLE kept (word text)"), "done");
    ASSERT_EQ(ask(*first, "INSERT INTO kept VALUES ('kept')"), "done");
  }
  static void TearDownTestSuite() { delete shared; }
  static fs::path data_dir() { return *shared / "data"; }
  static fs::path own_settings() { return data_dir() / "postgres" / "data" / "postgresql.auto.conf"; }
  static peers::temp_dir* shared;
};
peers::temp_dir* Embedded::shared = nullptr;

TEST_F(Embedded, GivesADatabaseToARoleWithoutPrivileges) {
  const auto server = start(data_dir());
  EXPECT_TRUE(server->running());
  client c(server->url());
  EXPECT_EQ(c.ask("SELECT current_user || '/' || current_database()"), "mailherd/mailherd");
  EXPECT_EQ(c.ask("SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication"
                  "  FROM pg_roles WHERE rolname = current_user"),
            "f");
  EXPECT_EQ(c.ask("SELECT pg_encoding_to_char(encoding) || '/' || datcollate FROM pg_database WHERE datname = current_database()"),
            "UTF8/C.UTF-8");
  EXPECT_EQ(c.ask("SELECT string_agg(w, '' ORDER BY w) FROM (VALUES ('b'), ('A'), ('a'), ('B')) v(w)"), "ABab");
  EXPECT_EQ(c.ask("CREATE TABLE owned (a int)"), "done");
  EXPECT_EQ(c.ask("DROP TABLE owned"), "done");
  EXPECT_THAT(c.ask("ALTER ROLE mailherd SUPERUSER"), HasSubstr("error"));
}

TEST_F(Embedded, TakesPrivilegesBackThatWereGivenByHand) {
  const auto as_superuser = [](const embedded_server& server, const std::string& statement) {
    std::string url = server.url();
    url.replace(url.find("mailherd@"), 8, "postgres");
    return client(url).ask(statement);
  };
  EXPECT_EQ(as_superuser(*start(data_dir()), "ALTER ROLE mailherd SUPERUSER BYPASSRLS"), "done");
  const auto server = start(data_dir());
  EXPECT_EQ(ask(*server, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"), "f");
}

TEST_F(Embedded, IsSetUpToLoseNothing) {
  const auto server = start(data_dir());
  const std::pair<const char*, const char*> settings[] = {
      {"fsync", "on"},           {"synchronous_commit", "on"}, {"full_page_writes", "on"},           {"data_checksums", "on"},
      {"max_wal_size", "2GB"},   {"wal_compression", "lz4"},   {"default_toast_compression", "lz4"}, {"shared_buffers", "64MB"},
      {"max_connections", "40"}, {"listen_addresses", ""},     {"jit", "off"},                       {"autovacuum", "on"},
  };
  for (const auto& [name, value] : settings) EXPECT_EQ(ask(*server, std::string("SHOW ") + name), value) << name;
}

/// Inodes of the sockets that the process has open.
std::vector<std::string> sockets_of(pid_t pid) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    const std::string target = fs::read_symlink(entry.path()).string();
    if (target.starts_with("socket:[")) out.push_back(target.substr(8, target.size() - 9));
  }
  return out;
}

TEST_F(Embedded, HasNoTcpListener) {
  const auto server = start(data_dir());
  const auto sockets = sockets_of(process_of(*server));
  EXPECT_FALSE(sockets.empty());  // the Unix socket: it can be seen at all
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"})
    for (const auto& inode : sockets) EXPECT_THAT(peers::read_file(table), Not(HasSubstr(" " + inode + " "))) << table;
}

TEST_F(Embedded, LetsNoOtherUserIn) {
  const auto server = start(data_dir());
  const std::string url = server->url();
  const fs::path sockets = data_dir() / "postgres" / "socket";
  struct stat now {};
  ASSERT_EQ(::stat(sockets.c_str(), &now), 0);
  EXPECT_EQ(now.st_mode & 0777, 0700U);
  if (::geteuid() != 0) return;  // only root can try to be somebody else
  const auto [status, said] = peers::run({.argv = {"psql", url, "-c", "SELECT 1"}, .user = "nobody"});
  EXPECT_NE(status, 0);
  EXPECT_THAT(said, HasSubstr("Permission denied"));
  // With the directories opened by mistake, the server itself still asks the kernel who it is.
  const std::pair<fs::path, mode_t> ways[] = {{data_dir(), 0710}, {data_dir() / "postgres", 0710}, {sockets, 0700}};
  for (const auto& way : ways) ASSERT_EQ(::chmod(way.first.c_str(), 0755), 0);
  for (const auto& entry : fs::directory_iterator(sockets)) ASSERT_EQ(::chmod(entry.path().c_str(), 0777), 0);
  const auto stranger = peers::run({.argv = {"psql", url, "-c", "SELECT 1"}, .user = "nobody"});
  for (const auto& [way, mode] : ways) ASSERT_EQ(::chmod(way.c_str(), mode), 0);
  EXPECT_NE(stranger.first, 0);
  EXPECT_THAT(stranger.second, HasSubstr("Peer authentication failed"));
}

TEST_F(Embedded, RunsApartFromUs) {
  ::setenv("MAILHERD_MASTER_KEY", "k1:never-to-be-seen", 1);
  const std::string own_file = (*shared / "open-in-the-node").string();
  std::ofstream open_file(own_file);
  const auto server = start(data_dir());
  const pid_t pid = process_of(*server);
  ::unsetenv("MAILHERD_MASTER_KEY");
  EXPECT_EQ(::getsid(pid), pid) << "a terminal's Ctrl-C would end it";
  const std::string proc = "/proc/" + std::to_string(pid);
  EXPECT_THAT(peers::read_file(proc + "/environ"), Not(HasSubstr("never-to-be-seen")));
  for (const auto& entry : fs::directory_iterator(proc + "/fd")) EXPECT_NE(fs::read_symlink(entry.path()).string(), own_file);
  const std::string status = peers::read_file(proc + "/status");
  EXPECT_THAT(status, Not(HasSubstr("Uid:\t0"))) << "as root";
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(peers::read_file(proc + "/limits"), testing::ContainsRegex("Max core file size +0 +0 "));
}

TEST_F(Embedded, WritesNoRowAndNoStatementIntoItsLog) {
  const auto server = start(data_dir());
  client c(server->url());
  ASSERT_EQ(c.ask("CREATE TABLE people (address text UNIQUE)"), "done");
  ASSERT_EQ(c.ask("INSERT INTO people VALUES ('private@acme.test')"), "done");
  ASSERT_THAT(c.ask("INSERT INTO people VALUES ('private@acme.test')"), HasSubstr("duplicate key"));
  ASSERT_EQ(c.ask("DROP TABLE people"), "done");
  const std::string log = peers::read_file(data_dir() / "postgres" / "server.log");
  EXPECT_THAT(log, HasSubstr("duplicate key"));
  EXPECT_THAT(log, Not(HasSubstr("private@")));
}

TEST_F(Embedded, ComesBackWithItsDataWhenItIsKilled) {
  events said;
  const auto server = start(data_dir(), &said);
  ASSERT_EQ(ask(*server, "CREATE TABLE survivors (n int)"), "done");
  pid_t before = process_of(*server);
  for (int round = 1; round <= 3; ++round) {
    ASSERT_EQ(ask(*server, "INSERT INTO survivors VALUES (1)"), "done");
    const client idle(server->url());  // its process has to notice the death before a new server can start
    ASSERT_EQ(::kill(before, SIGKILL), 0);
    ASSERT_TRUE(said.next("ended by signal 9"));
    ASSERT_TRUE(said.next("started again"));
    EXPECT_EQ(ask(*server, "SELECT count(*) FROM survivors"), std::to_string(round));
    const pid_t now = process_of(*server);
    EXPECT_NE(now, before);
    before = now;
  }
  EXPECT_TRUE(peers::wait_until([&] { return server->running(); }, patience));
  EXPECT_EQ(ask(*server, "DROP TABLE survivors"), "done");
}

TEST_F(Embedded, TriesAgainUntilItStartsAndCanBeStoppedMeanwhile) {
  events said;
  const auto server = start(data_dir(), &said);
  const std::string good = peers::read_file(own_settings());
  const auto broken = [&] { overwrite(own_settings(), "no_such_setting = 1\n"); };
  broken();
  ASSERT_EQ(::kill(process_of(*server), SIGKILL), 0);
  ASSERT_TRUE(said.next("no_such_setting"));
  EXPECT_FALSE(server->running());
  overwrite(own_settings(), good);
  ASSERT_TRUE(said.next("started again"));
  EXPECT_EQ(ask(*server, "SELECT word FROM kept"), "kept");

  broken();
  ASSERT_EQ(::kill(process_of(*server), SIGKILL), 0);
  ASSERT_TRUE(said.next("no_such_setting"));
  server->stop();
  overwrite(own_settings(), good);
}

TEST_F(Embedded, StopsOnceAndStartsAgain) {
  auto server = start(data_dir());
  const std::string url = server->url();
  const pid_t pid = process_of(*server);
  const client idle(url);  // a fast shutdown does not wait for its clients
  server->stop();
  EXPECT_FALSE(server->running());
  EXPECT_FALSE(lives(pid));
  EXPECT_FALSE(client(url).connected());
  server->stop();
  server.reset();
  server = start(data_dir());
  EXPECT_EQ(server->url(), url);
  EXPECT_EQ(ask(*server, "SELECT word FROM kept"), "kept");
}

TEST_F(Embedded, StopsWhenItIsDestroyed) {
  const pid_t pid = process_of(*start(data_dir()));
  EXPECT_FALSE(lives(pid));
}

TEST_F(Embedded, AdoptsTheServerOfAKilledNode) {
  in_a_node_that_is_killed([] { start(data_dir()).release(); });
  std::string left_behind;
  std::getline(std::ifstream(data_dir() / "postgres" / "data" / "postmaster.pid"), left_behind);
  ASSERT_FALSE(left_behind.empty()) << "the server ended with its node";
  events said;
  const auto server = start(data_dir(), &said);
  ASSERT_TRUE(said.next("adopted"));
  const pid_t pid = process_of(*server);
  EXPECT_EQ(std::to_string(pid), left_behind);
  EXPECT_EQ(ask(*server, "SELECT word FROM kept"), "kept");
  // It is looked after as if it were our own child.
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  ASSERT_TRUE(said.next("started again"));
  EXPECT_EQ(ask(*server, "SELECT word FROM kept"), "kept");
}

TEST_F(Embedded, StopsAnAdoptedServer) {
  in_a_node_that_is_killed([] { start(data_dir()).release(); });
  const auto server = start(data_dir());
  const client idle(server->url());
  const std::string url = server->url();
  server->stop();
  EXPECT_FALSE(client(url).connected());
  EXPECT_FALSE(fs::exists(data_dir() / "postgres" / "data" / "postmaster.pid"));
}

TEST_F(Embedded, WaitsForAServerThatIsAboutToEnd) {
  in_a_node_that_is_killed([] {
    const auto server = start(data_dir()).release();
    ::kill(process_of(*server), SIGINT);
  });
  EXPECT_EQ(ask(*start(data_dir()), "SELECT word FROM kept"), "kept");
}

TEST_F(Embedded, RefusesASecondNode) {
  const auto server = start(data_dir());
  const error second = refusal(data_dir());
  EXPECT_EQ(second.code, failure::conflict);
  EXPECT_THAT(second.detail, HasSubstr(std::to_string(::getpid())));
  EXPECT_EQ(ask(*server, "SELECT word FROM kept"), "kept");
}

/// As in a container, where numbers are small: the number of the dead server now belongs to another program of the server's user.
TEST_F(Embedded, IsNotMisledByAPidFileThatNamesAnotherProgram) {
  const fs::path file = data_dir() / "postgres" / "data" / "postmaster.pid";
  std::string text;
  in_a_node_that_is_killed([] {
    const auto server = start(data_dir()).release();
    ::kill(process_of(*server), SIGKILL);
  });
  text = peers::read_file(file);
  peers::process other({.argv = {"sleep", "1000"}, .user = "postgres"});
  overwrite(file, std::to_string(other.id()) + text.substr(text.find('\n')));
  {
    events said;
    const auto server = start(data_dir(), &said);
    EXPECT_TRUE(said.next("started"));
    EXPECT_EQ(ask(*server, "SELECT word FROM kept"), "kept");
  }
  EXPECT_TRUE(other.running()) << "a process that is not ours was ended";
}

TEST_F(Embedded, RefusesFilesOfAnotherVersion) {
  const fs::path file = data_dir() / "postgres" / "data" / "PG_VERSION";
  const std::string good = peers::read_file(file);
  overwrite(file, "9\n");
  const error other = refusal(data_dir());
  overwrite(file, "garbage\n");
  const error garbage = refusal(data_dir());
  overwrite(file, good);
  EXPECT_EQ(other.code, failure::invalid_input);
  EXPECT_THAT(other.detail, testing::AllOf(HasSubstr("PostgreSQL 9,"), HasSubstr("install postgresql-9"), HasSubstr("pg_upgrade")));
  EXPECT_EQ(garbage.code, failure::invalid_input);
  EXPECT_THAT(garbage.detail, HasSubstr("PG_VERSION"));
  EXPECT_EQ(ask(*start(data_dir()), "SELECT word FROM kept"), "kept");
}

TEST_F(Embedded, RunsAsTheOwnerOfItsFilesAndNeverAsRoot) {
  if (::geteuid() != 0) return;  // only root can choose
  const auto as = [](const char* user) {
    auto out = embedded_server::start({.data_dir = data_dir(), .binaries = {}, .run_as = user, .on_event = {}});
    return out ? error{failure::internal, "it started"} : out.error();
  };
  for (const char* user : {"root", "nobody", "no-such-user"}) {
    EXPECT_EQ(as(user).code, failure::invalid_input) << user;
    EXPECT_THAT(as(user).detail, HasSubstr(user));
  }
  EXPECT_EQ(as("postgres").detail, "it started");
}

TEST_F(Embedded, SaysWhatTheLogSaysWhenItDoesNotStart) {
  const std::string good = peers::read_file(own_settings());
  overwrite(own_settings(), "no_such_setting = 1\n");
  const error why = refusal(data_dir());
  overwrite(own_settings(), good);
  EXPECT_EQ(why.code, failure::store_unavailable);
  EXPECT_THAT(why.detail, HasSubstr("no_such_setting"));
  EXPECT_FALSE(fs::exists(data_dir() / "postgres" / "data" / "postmaster.pid"));
}

TEST_F(Embedded, SaysWhatToInstallWhereThereIsNoPostgresql) {
  const error why = refusal(data_dir(), "/nonexistent");
  EXPECT_EQ(why.code, failure::invalid_input);
  EXPECT_THAT(why.detail, testing::AllOf(HasSubstr("/nonexistent"), HasSubstr("postgresql-15")));
}

}  // namespace
}  // namespace mailherd::store
