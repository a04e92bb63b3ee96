// tests/bench/mbsync_run: mbsync (isync 1.4) pulling mailboxes into a new Maildir, with its default FSync or without.
//
//   mbsync_run --port P --ca FILE [--mailboxes 1] [--fsync] [--dir DIR]
// --dir: where the Maildir is made (and removed). With --fsync it must lie on a disk, not in memory, or the comparison is void.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "mail.hpp"
#include "report.hpp"
#include "tests/peers/files.hpp"
#include "tests/peers/process.hpp"

namespace {

using namespace mailherd;
namespace fs = std::filesystem;

struct settings {
  std::uint16_t port = 0;
  std::string ca, dir;
  std::size_t mailboxes = 1;
  bool fsync = false;
};

/// One account, two stores and a channel for each mailbox.
std::string configuration(const settings& s, const fs::path& root) {
  std::string out = fmt::format("FSync {}\n", s.fsync ? "yes" : "no");
  for (std::size_t i = 0; i < s.mailboxes; ++i) {
    const fs::path box = root / fmt::format("box{}", i);
    fs::create_directories(box);
    out += fmt::format(
        "\nIMAPAccount a{0}\nHost localhost\nPort {1}\nUser {2}\nPass {3}\nSSLType IMAPS\nCertificateFile {4}\nSystemCertificates no\n"
        "\nIMAPStore far{0}\nAccount a{0}\n"
        "\nMaildirStore near{0}\nPath {5}/\nInbox {5}/INBOX\nSubFolders Verbatim\n"
        "\nChannel c{0}\nFar :far{0}:\nNear :near{0}:\nPatterns INBOX\nSync Pull New\nCreate Near\nSyncState *\n",
        i, s.port, bench::mail::user(i), bench::mail::password, s.ca, box.string());
  }
  return out;
}

std::size_t files_below(const fs::path& root) {
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string parent = entry.path().parent_path().filename().string();
    if (entry.is_regular_file() && (parent == "new" || parent == "cur")) ++count;
  }
  return count;
}

/// Its exit status and what it used; peers::process does not tell the latter.
rusage run_mbsync(const fs::path& config, const fs::path& log) {
  const auto program = peers::find_program("mbsync");
  if (!program) throw peers::peer_error("mbsync is not installed (package isync)");
  const pid_t pid = ::fork();
  if (pid == 0) {
    const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    ::execl(program->c_str(), "mbsync", "-c", config.c_str(), "-a", "-q", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  rusage used{};
  if (pid < 0 || ::wait4(pid, &status, 0, &used) != pid) throw peers::peer_error("mbsync cannot be started");
  if (status != 0) throw peers::peer_error(fmt::format("mbsync failed ({}): {}", status, peers::tail(log)));
  return used;
}

void run(const settings& s) {
  const peers::temp_dir own("mbsync");
  const fs::path root = s.dir.empty() ? own.path() : fs::path(s.dir) / fmt::format("mbsync-{}", ::getpid());
  fs::create_directories(root);
  const fs::path config = root / "mbsyncrc";
  peers::write_file(config, configuration(s, root), 0600);
  const bench::stopwatch watch;
  const rusage used = run_mbsync(config, root / "log");
  bench::measurement out = watch.stop(s.fsync ? "mbsync, FSync" : "mbsync, no FSync", files_below(root));
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  out.cpu_seconds = seconds(used.ru_utime) + seconds(used.ru_stime);
  out.peak_rss_mb = static_cast<double>(used.ru_maxrss) * 1024 / 1e6;
  if (out.messages == 0) throw peers::peer_error("mbsync brought nothing: " + peers::tail(root / "log"));
  std::puts(bench::to_json(out).c_str());
  fs::remove_all(root);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"mbsync into a new Maildir"};
  settings s;
  app.add_option("--port", s.port)->required();
  app.add_option("--ca", s.ca)->required();
  app.add_option("--mailboxes", s.mailboxes);
  app.add_flag("--fsync", s.fsync);
  app.add_option("--dir", s.dir);
  CLI11_PARSE(app, argc, argv);
  try {
    run(s);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mbsync_run: %s\n", error.what());
    return 1;
  }
}
