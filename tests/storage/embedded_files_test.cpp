// tests/storage/embedded_files: where the embedded PostgreSQL puts its files, and where it refuses to.
#include "storage/embedded.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "tests/peers/files.hpp"
#include "tests/storage/embedded_world.hpp"

namespace mailherd::store {
namespace {

using namespace embedded_world;
using testing::HasSubstr;
using testing::Not;

TEST(EmbeddedFiles, AreMadeAgainWhenTheNodeWasKilledWhileMakingThem) {
  const peers::temp_dir dir("embedded");
  const fs::path data_dir = dir / "a b, \"c\" 'd' %20";  // whatever is in its name
  const pid_t node = ::fork();
  if (node == 0) {
    start(data_dir).release();
    ::_exit(1);
  }
  const auto is_half_made = [&] {
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(data_dir / "postgres", code))
      if (entry.path().filename().string().starts_with("data.new") && fs::exists(entry.path() / "base", code)) return true;
    return false;
  };
  ASSERT_TRUE(peers::wait_until(is_half_made, patience));
  ASSERT_EQ(::kill(node, SIGKILL), 0);
  ASSERT_EQ(::waitpid(node, nullptr, 0), node);
  const auto server = start(data_dir);
  EXPECT_EQ(ask(*server, "SELECT current_database()"), "mailherd");
  for (const auto& entry : fs::directory_iterator(data_dir / "postgres")) EXPECT_THAT(entry.path().string(), Not(HasSubstr("data.new")));
}

TEST(EmbeddedFiles, MayHaveAPathTooLongForASocket) {
  const peers::temp_dir dir("embedded");
  const fs::path data_dir = dir / (std::string(90, 'x') + "/" + std::string(90, 'y'));
  std::string url;
  in_a_node_that_is_killed([&] { start(data_dir).release(); });
  fs::path sockets;
  {
    events said;
    const auto server = start(data_dir, &said);
    ASSERT_TRUE(said.next("adopted"));
    url = server->url();
    EXPECT_EQ(ask(*server, "SELECT current_database()"), "mailherd");
    sockets = ask(*server, "SELECT 1") == "1" ? peers::read_file(data_dir / "postgres" / "socket-directory") : "";
    sockets = sockets.string().substr(0, sockets.string().find('\n'));
    struct stat now {};
    ASSERT_EQ(::stat(sockets.c_str(), &now), 0);
    EXPECT_EQ(now.st_mode & 0777, 0700U);
  }
  EXPECT_FALSE(fs::exists(sockets)) << "left behind after an orderly stop";
  // Somebody cleans up the directory of temporary files while the server of a killed node goes on without its socket.
  in_a_node_that_is_killed([&] { start(data_dir).release(); });
  sockets = peers::read_file(data_dir / "postgres" / "socket-directory");
  fs::remove_all(sockets.string().substr(0, sockets.string().find('\n')));
  EXPECT_EQ(ask(*start(data_dir), "SELECT current_database()"), "mailherd");
}

TEST(EmbeddedFiles, AreNotThoseOfSomebodyElse) {
  const peers::temp_dir dir("embedded");
  fs::create_directories(dir / "data/postgres");
  peers::write_file(dir / "data/postgres/precious", "precious");
  const error why = refusal(dir / "data");
  EXPECT_EQ(why.code, failure::invalid_input);
  EXPECT_THAT(why.detail, HasSubstr("did not make"));
  EXPECT_EQ(peers::read_file(dir / "data/postgres/precious"), "precious");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir / "data/postgres"), fs::directory_iterator{}), 1);
}

TEST(EmbeddedFiles, NeedAWayToThem) {
  const peers::temp_dir dir("embedded");
  fs::create_directories(dir / "closed");
  ASSERT_EQ(::chmod((dir / "closed").c_str(), ::geteuid() == 0 ? 0700 : 0), 0);
  const error why = refusal(dir / "closed/data");
  ASSERT_EQ(::chmod((dir / "closed").c_str(), 0700), 0);
  EXPECT_EQ(why.code, failure::invalid_input);
  EXPECT_THAT(why.detail, HasSubstr((dir / "closed").string()));
  EXPECT_THAT(why.detail, HasSubstr("choose a data directory"));
  if (::geteuid() == 0) {
    EXPECT_THAT(why.detail, HasSubstr("chmod o+x"));
  }
}

/// A node of root that wrote its keys before: the directory is its own and closed, and is opened no further than for the server's group.
TEST(EmbeddedFiles, MayBeInAClosedDirectoryOfOurOwn) {
  const peers::temp_dir dir("embedded");
  fs::create_directories(dir / "data");
  ASSERT_EQ(::chmod((dir / "data").c_str(), 0700), 0);
  EXPECT_EQ(ask(*start(dir / "data"), "SELECT current_database()"), "mailherd");
  struct stat now {};
  ASSERT_EQ(::stat((dir / "data").c_str(), &now), 0);
  EXPECT_EQ(now.st_mode & 0777, ::geteuid() == 0 ? 0710U : 0700U);
}

}  // namespace
}  // namespace mailherd::store
