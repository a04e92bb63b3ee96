// storage/embedded_directories: who owns what under the data directory, and whether the server's user can get there.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "storage/embedded_cluster.hpp"

namespace mailherd::store::embedded {

namespace fs = std::filesystem;

namespace {

constexpr const char* mark_text =
    "1\nThe PostgreSQL of a Mailherd node that was given no database of its own. The number above is the layout of this folder.\n";

tl::unexpected<error> unusable(const fs::path& path, const std::string& why) {
  return fail(failure::invalid_input, fmt::format("{}: {}", path.string(), why));
}

tl::unexpected<error> unreachable(const fs::path& data_dir, std::error_code code) {
  return unusable(data_dir,
                  fmt::format("cannot be reached or made: {}; choose a data directory that this user may write", code.message()));
}

std::optional<struct stat> looked_at(const fs::path& path) {
  struct stat out {};
  if (::lstat(path.c_str(), &out) != 0) return std::nullopt;
  return out;
}

/// The folder is the node's, 0700; started as root, passable for the server's group and nobody else.
mode_t folder_mode(const account& who) { return who.uid == ::geteuid() ? 0700 : 0710; }

result<void> make_folder(const fs::path& path, const account& who) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return unusable(path, fmt::format("cannot be made: {}", system_text(errno)));
  if (who.uid == ::geteuid()) return {};
  if (::chown(path.c_str(), static_cast<uid_t>(-1), who.gid) != 0 || ::chmod(path.c_str(), folder_mode(who)) != 0)
    return unusable(path, fmt::format("cannot be made passable for {}: {}", who.name, system_text(errno)));
  return {};
}

std::vector<fs::path> with_parents(const fs::path& path) {
  std::vector<fs::path> out;
  for (fs::path at = path; out.empty() || out.back() != at; at = at.parent_path()) out.push_back(at);  // the root's parent is the root
  std::reverse(out.begin(), out.end());
  return out;
}

/// The data directory itself may be opened for the server's group, as long as it is ours and its group is nobody's in particular.
bool may_be_opened(const fs::path& data_dir, const account& who) {
  const auto now = looked_at(data_dir);
  return now && now->st_uid == ::geteuid() && (now->st_gid == 0 || now->st_gid == who.gid);
}

result<void> make_reachable(const fs::path& data_dir, const account& who, const std::function<void(const std::string&)>& on_event) {
  auto closed = first_not_entered(who, with_parents(data_dir));
  if (closed == data_dir && may_be_opened(data_dir, who)) {
    if (auto made = make_folder(data_dir, who); !made) return made;
    if (on_event) on_event(fmt::format("{} was made passable for the database server's user {} (mode 0710)", data_dir.string(), who.name));
    closed = first_not_entered(who, with_parents(data_dir));
  }
  if (!closed) return {};
  return unusable(*closed, fmt::format("the database server runs as user {}, who may not enter this directory: chmod o+x \"{}\", or choose "
                                       "a data directory elsewhere, e.g. under /var/lib",
                                       who.name, closed->string()));
}

}  // namespace

result<fs::path> resolved(const fs::path& data_dir) {
  const std::string given = data_dir.string();
  if (given.empty()) return fail(failure::invalid_input, "the data directory has no name");
  if (std::any_of(given.begin(), given.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }))
    return fail(failure::invalid_input, "the data directory's name has control characters in it");
  std::error_code code;
  fs::path out = fs::weakly_canonical(fs::absolute(data_dir, code), code);
  if (code) return unreachable(data_dir, code);
  if (!out.has_filename()) out = out.parent_path();  // "data/"
  return out;
}

result<account> choose_account(const layout& where, const std::string& run_as) {
  struct stat files {};  // not of the link that an operator may have put there
  const auto owner = ::stat(where.data.c_str(), &files) == 0 ? std::optional(files) : std::nullopt;
  if (::geteuid() != 0) {
    if (owner && owner->st_uid != ::geteuid())
      return unusable(where.data, fmt::format("belongs to user {}: start the node as that user or as root", owner->st_uid));
    return account_of(::geteuid());
  }
  // Files that exist decide: a node that was started by a person once, and by root from then on, must go on with them.
  auto who = owner && owner->st_uid != 0 ? account_of(owner->st_uid) : account_named(run_as.empty() ? "postgres" : run_as);
  if (!who && run_as.empty() && !owner) who = account_named("nobody");
  if (!who) return who;
  if (who->uid == 0) return fail(failure::invalid_input, "PostgreSQL does not run as root: name another user for it");
  if (owner && owner->st_uid == 0)
    return unusable(where.data, fmt::format("belongs to root, as whom PostgreSQL does not run: chown -R {} \"{}\"", who->name,
                                            where.data.string()));
  if (!run_as.empty() && who->name != run_as)
    return unusable(where.data, fmt::format("belongs to {}, but the server is to run as {}: chown -R {} \"{}\"", who->name, run_as, run_as,
                                            where.data.string()));
  return who;
}

result<void> make_folders(const fs::path& data_dir, const layout& where, const account& who,
                          const std::function<void(const std::string&)>& on_event) {
  std::error_code code;
  if (data_dir.has_parent_path()) fs::create_directories(data_dir.parent_path(), code);
  if (code) return unreachable(data_dir, code);
  const bool is_new = !fs::exists(data_dir, code);
  if (code) return unreachable(data_dir, code);
  if (is_new)
    if (auto made = make_folder(data_dir, who); !made) return made;
  if (who.uid != ::geteuid())
    if (auto reachable = make_reachable(data_dir, who, on_event); !reachable) return reachable;

  const bool marked = fs::exists(where.mark, code);
  if (!marked && fs::exists(where.root, code) && !fs::is_empty(where.root, code))
    return unusable(where.root, "holds files that Mailherd did not make: move them away, or choose another data directory");
  if (auto made = make_folder(where.root, who); !made) return made;
  if (marked && read_file(where.mark).substr(0, 2) != "1\n")
    return unusable(where.root, "was made by a newer Mailherd, which is needed to go on with it");
  return marked ? result<void>{} : write_file(where.mark, mark_text, who);
}

result<void> make_private(const fs::path& directory, const account& who) {
  if (::mkdir(directory.c_str(), 0700) == 0) {
    if (who.uid != ::geteuid() && ::lchown(directory.c_str(), who.uid, who.gid) != 0)
      return unusable(directory, fmt::format("cannot be given to {}: {}", who.name, system_text(errno)));
    return {};
  }
  if (errno != EEXIST) return unusable(directory, fmt::format("cannot be made: {}", system_text(errno)));
  const auto now = looked_at(directory);
  if (!now || !S_ISDIR(now->st_mode) || now->st_uid != who.uid || (now->st_mode & 0077) != 0)
    return unusable(directory, fmt::format("is not a directory of {} that nobody else may enter (mode 0700)", who.name));
  return {};
}

result<void> write_file(const fs::path& path, const std::string& text, const account& who) {
  const fs::path aside = path.string() + ".new";
  ::unlink(aside.c_str());
  const descriptor file(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  bool ok = file.valid() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (who.uid != ::geteuid()) ok = ok && ::fchown(file.get(), static_cast<uid_t>(-1), who.gid) == 0 && ::fchmod(file.get(), 0640) == 0;
  ok = ok && ::fsync(file.get()) == 0 && ::rename(aside.c_str(), path.c_str()) == 0;
  if (!ok) return fail(failure::store_unavailable, fmt::format("cannot write {}: {}", path.string(), system_text(errno)));
  return {};
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace mailherd::store::embedded
