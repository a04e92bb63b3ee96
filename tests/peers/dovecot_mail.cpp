// tests/peers/dovecot_mail: the part of dovecot_server that works on maildirs.
//
// Owns:   file names and folders of Maildir++. Never talks to the running server, except to end sessions that hold an index open.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "tests/peers/dovecot_state.hpp"

namespace mailherd::peers {

namespace fs = std::filesystem;
using std::chrono::system_clock;

namespace {

void put_file(const fs::path& path, std::string_view raw, const std::optional<system_clock::time_point>& date) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) throw peer_error(fmt::format("cannot deliver to {}: {}", path.string(), std::strerror(errno)));
  std::size_t done = 0;
  ssize_t put = 0;
  while (done < raw.size() && (put = ::write(fd, raw.data() + done, raw.size() - done)) > 0) done += static_cast<std::size_t>(put);
  if (date) {
    const auto since = date->time_since_epoch();
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(since);
    const timespec time{static_cast<time_t>(whole.count()), static_cast<long>(std::chrono::nanoseconds(since - whole).count())};
    const timespec times[2] = {time, time};
    ::futimens(fd, times);  // Dovecot serves the file's time as INTERNALDATE
  }
  ::close(fd);
  if (done != raw.size()) throw peer_error(fmt::format("cannot deliver to {}: {}", path.string(), std::strerror(errno)));
}

/// Runs `visit` on every message file of a folder.
template <class Visit>
void each_message(const fs::path& maildir, Visit visit) {
  for (const char* part : {"new", "cur"}) {
    std::error_code error;
    for (fs::directory_iterator entry(maildir / part, error), end; !error && entry != end; entry.increment(error)) visit(entry->path());
  }
}

std::optional<fs::path> find_message(const fs::path& maildir, std::string_view name) {
  std::optional<fs::path> found;
  each_message(maildir, [&](const fs::path& file) {
    const std::string base = file.filename().string();
    if (base == name || base.compare(0, name.size() + 1, std::string(name) + ":") == 0) found = file;
  });
  return found;
}

/// A session may be renaming the file (flags, new → cur) at this moment: looked for again a few times.
fs::path require_message(const fs::path& maildir, std::string_view name) {
  std::optional<fs::path> found;
  if (!wait_until([&] { return (found = find_message(maildir, name)).has_value(); }, std::chrono::seconds(2)))
    throw peer_error(fmt::format("no message {} in {}", name, maildir.string()));
  return *found;
}

}  // namespace

fs::path dovecot_server::maildir(std::string_view address, std::string_view folder) const {
  fs::path base = state_->places.mail_dir / std::string(address);
  if (folder.empty() || folder == "INBOX") return base;
  std::string name = "." + std::string(folder);
  std::replace(name.begin(), name.end(), '/', '.');
  return base / name;
}

void dovecot_server::create_folder(std::string_view address, std::string_view folder) {
  const fs::path target = maildir(address, folder);
  for (const fs::path& step : {maildir(address), target}) {
    if (fs::exists(step / "cur")) continue;
    fs::create_directories(step);
    state_->own(step);
    for (const char* part : {"tmp", "new", "cur"}) {
      fs::create_directories(step / part);
      state_->own(step / part);
    }
    if (step != maildir(address)) {
      write_file(step / "maildirfolder", "");
      state_->own(step / "maildirfolder");
    }
  }
}

std::string dovecot_server::deliver(std::string_view address, std::string_view folder, std::string_view raw,
                                    std::optional<system_clock::time_point> internal_date) {
  create_folder(address, folder);
  const fs::path target = maildir(address, folder);
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(system_clock::now().time_since_epoch()).count();
  // The names sort in the order of delivery: Dovecot gives UIDs to new files in the order of their names. S and W spare it reading the file.
  const std::string name = fmt::format("{}.M{:06}P{}Q{:08}.peer,S={},W={}", now / 1'000'000, now % 1'000'000, ::getpid(),
                                       state_->delivered.fetch_add(1), raw.size(), raw.size());
  put_file(target / "tmp" / name, raw, internal_date);
  state_->own(target / "tmp" / name);
  fs::rename(target / "tmp" / name, target / "new" / name);
  return name;
}

void dovecot_server::deliver_many(std::string_view address, std::string_view folder, std::size_t count,
                                  const std::function<std::string(std::size_t)>& message) {
  create_folder(address, folder);
  const fs::path target = maildir(address, folder) / "cur";
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(system_clock::now().time_since_epoch()).count();
  for (std::size_t i = 0; i < count; ++i) {
    const std::string raw = message(i);
    // Dovecot sorts by second, then by the number after M.
    const auto serial = state_->delivered.fetch_add(1);
    const std::string name = fmt::format("{}.M{:06}P{}Q{:08}.peer,S={},W={}:2,", now + static_cast<std::int64_t>(serial / 1'000'000),
                                         serial % 1'000'000, ::getpid(), serial, raw.size(), raw.size());
    put_file(target / name, raw, {});
    state_->own(target / name);
  }
}

void dovecot_server::expunge(std::string_view address, std::string_view folder, std::string_view name) {
  fs::remove(require_message(maildir(address, folder), name));
}

void dovecot_server::move(std::string_view address, std::string_view from, std::string_view to, std::string_view name) {
  create_folder(address, to);
  const fs::path file = require_message(maildir(address, from), name);
  fs::rename(file, maildir(address, to) / "cur" / (std::string(name) + ":2,"));
}

void dovecot_server::reset_uid_validity(std::string_view address, std::string_view folder) {
  const fs::path target = maildir(address, folder);
  kick(address);
  // A session that is just ending may write its index back: removed until it stays away. The mail root's dovecot-uidvalidity stays,
  // it is what makes the next UIDVALIDITY a different one.
  const auto leftovers = [&] {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(target)) {
      const std::string name = entry.path().filename().string();
      if (name == "dovecot-uidlist" || name.compare(0, 13, "dovecot.index") == 0) found.push_back(entry.path());
    }
    return found;
  };
  unsigned quiet = 0;
  wait_until(
      [&] {
        const auto found = leftovers();
        for (const auto& file : found) {
          std::error_code ignored;
          fs::remove(file, ignored);
        }
        quiet = found.empty() ? quiet + 1 : 0;
        return quiet >= 10;
      },
      std::chrono::seconds(2));
}

void dovecot_server::clear(std::string_view address, std::string_view folder) {
  std::vector<fs::path> files;
  each_message(maildir(address, folder), [&](const fs::path& file) { files.push_back(file); });
  for (const auto& file : files) {
    std::error_code ignored;
    fs::remove(file, ignored);
  }
}

std::size_t dovecot_server::count(std::string_view address, std::string_view folder) const {
  std::size_t number = 0;
  each_message(maildir(address, folder), [&](const fs::path&) { ++number; });
  return number;
}

std::vector<std::string> dovecot_server::digests(std::string_view address, std::string_view folder) const {
  std::vector<std::string> out;
  each_message(maildir(address, folder), [&](const fs::path& file) { out.push_back(sha256_hex(read_file(file))); });
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace mailherd::peers
