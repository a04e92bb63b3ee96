// tests/peers_test/process: children end with their owners, and a failure says why.
#include <unistd.h>

#include <cstdlib>

#include "support.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"

namespace mailherd::peers::test {
namespace {

namespace fs = std::filesystem;

/// A shell that has a child of its own; both write their ids.
process parent_and_child(const temp_dir& dir) {
  process out({.argv = {"sh", "-c", "sleep 1000 & echo $! > child; echo $$ > parent; wait"}, .cwd = dir.path(), .log_file = dir / "log"});
  out.wait_ready([&] { return fs::exists(dir / "parent") && fs::file_size(dir / "parent") > 0; }, 10s);
  return out;
}

/// A zombie that nobody has collected does not live. (Its memory would not tell: the kernel counts that of small processes late.)
bool lives(pid_t pid) {
  try {
    const std::string stat = read_file(fs::path("/proc") / std::to_string(pid) / "stat");
    const auto name_end = stat.rfind(") ");
    return name_end != std::string::npos && name_end + 2 < stat.size() && stat[name_end + 2] != 'Z' && stat[name_end + 2] != 'X';
  } catch (const peer_error&) {
    return false;
  }
}

TEST(process, ends_with_its_children_when_its_owner_lets_go) {
  const temp_dir dir;
  pid_t child = 0, parent = 0;
  {
    process both = parent_and_child(dir);
    child = std::stoi(read_file(dir / "child"));
    parent = both.id();
    EXPECT_EQ(both.tree_usage().processes, 2U);
    EXPECT_TRUE(lives(child));
  }
  EXPECT_TRUE(wait_until([&] { return !lives(child) && !lives(parent); }, 10s));
}

TEST(process, ends_when_its_owner_is_killed) {
  // The owner is this same test in a second process: a fork would lack the thread that forks children.
  if (const char* told = std::getenv("MAILHERD_TEST_OWNER")) {
    process child({.argv = {"sh", "-c", "echo $$ > id; exec sleep 1000"}, .cwd = told});
    for (;;) ::pause();
  }
  const temp_dir dir;
  process owner({.argv = {"/proc/self/exe", "--gtest_filter=process.ends_when_its_owner_is_killed"},
                 .env = {{"MAILHERD_TEST_OWNER", dir.path().string()}},
                 .log_file = dir / "log"});
  owner.wait_ready([&] { return fs::exists(dir / "id") && fs::file_size(dir / "id") > 0; }, 20s);
  const pid_t child = std::stoi(read_file(dir / "id"));
  EXPECT_TRUE(lives(child));
  owner.signal(SIGKILL);
  EXPECT_TRUE(wait_until([&] { return !lives(child); }, 10s));
}

TEST(process, that_ends_before_it_is_ready_is_reported_with_its_log) {
  const temp_dir dir;
  process broken({.argv = {"sh", "-c", "echo cannot bind; exit 3"}, .log_file = dir / "log"});
  try {
    broken.wait_ready([] { return false; }, 20s);
    FAIL() << "was taken for ready";
  } catch (const peer_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("status 3"));
    EXPECT_THAT(error.what(), HasSubstr("cannot bind"));
  }
}

TEST(process, that_never_gets_ready_is_given_up_with_its_log) {
  const temp_dir dir;
  process slow({.argv = {"sh", "-c", "echo still thinking; exec sleep 1000"}, .log_file = dir / "log"});
  EXPECT_TRUE(wait_until([&] { return !tail(dir / "log").empty(); }, 10s));
  try {
    slow.wait_ready([] { return false; }, 50ms);
    FAIL() << "was taken for ready";
  } catch (const peer_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("still thinking"));
  }
}

TEST(process, that_ignores_the_polite_signal_is_killed) {
  const temp_dir dir;
  process deaf({.argv = {"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"}, .log_file = dir / "log"});
  deaf.wait_ready([&] { return !tail(dir / "log").empty(); }, 10s);
  EXPECT_EQ(deaf.terminate(50ms), 128 + SIGKILL);
  EXPECT_FALSE(deaf.running());
}

TEST(process, that_does_not_exist_says_so) {
  EXPECT_THROW(process({.argv = {"no-such-program-anywhere"}}), peer_error);
  const auto [status, output] = run({.argv = {"sh", "-c", "echo told; exit 5"}});
  EXPECT_EQ(status, 5);
  EXPECT_EQ(output, "told\n");
}

TEST(temp_dir, disappears_with_everything_in_it) {
  fs::path path;
  {
    const temp_dir dir("peer");
    path = dir.path();
    write_file(dir / "file", "x");
    fs::create_directories(dir / "a/b");
  }
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace mailherd::peers::test
