// tests/peers/dovecot_mail: the part of dovecot_server that works on maildirs.
//
// Owns:   file names, folders and UID lists of Maildir++. Never talks to the running server, except to end sessions and by LMTP.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <sstream>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "tests/peers/dovecot_state.hpp"
#include "tests/peers/tls_client.hpp"

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

/// File name without flags, and the file. A directory that is read while a session renames files in it (a POP3 session that ends marks all it has
/// read) may leave some out: it is read until two readings are the same.
std::map<std::string, fs::path> files_by_name(const fs::path& maildir) {
  std::map<std::string, fs::path> out, before;
  const auto read = [&] {
    before = std::exchange(out, {});
    each_message(maildir, [&](const fs::path& file) {
      const std::string base = file.filename().string();
      out[base.substr(0, base.find(':'))] = file;
    });
    return out == before;
  };
  if (!read() && !wait_until(read, std::chrono::seconds(20))) throw peer_error(fmt::format("{} does not come to rest", maildir.string()));
  return out;
}

/// dovecot-uidlist, version 3: "3 V<uidvalidity> N<next uid> G<guid>", then "<uid> [<letter><value> ...] :<file name>".
struct uid_list {
  std::string header;
  std::uint32_t validity = 0, next = 1;
  std::map<std::string, std::uint32_t> uids;  ///< by file name without flags
};

uid_list read_uid_list(const fs::path& maildir) {
  uid_list out;
  std::error_code error;
  if (!fs::exists(maildir / "dovecot-uidlist", error)) return out;
  std::istringstream lines(read_file(maildir / "dovecot-uidlist"));
  std::getline(lines, out.header);
  std::istringstream words(out.header);
  for (std::string word; words >> word;) {
    if (word[0] == 'V') out.validity = static_cast<std::uint32_t>(std::stoul(word.substr(1)));
    if (word[0] == 'N') out.next = static_cast<std::uint32_t>(std::stoul(word.substr(1)));
  }
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(" :");
    if (colon == std::string::npos) continue;
    const std::string name = line.substr(colon + 2);
    out.uids[name.substr(0, name.find(':'))] = static_cast<std::uint32_t>(std::stoul(line));
  }
  return out;
}

/// Dovecot's order of new files: by second, then by the digits after ".M".
bool delivered_before(const std::string& a, const std::string& b) {
  const auto key = [](const std::string& name) {
    const auto micro = name.find(".M");
    return std::tuple(std::strtoull(name.c_str(), nullptr, 10),
                      micro == std::string::npos ? 0ULL : std::strtoull(name.c_str() + micro + 2, nullptr, 10), std::string_view(name));
  };
  return key(a) < key(b);
}

std::vector<std::string> in_order(const std::map<std::string, fs::path>& files) {
  std::vector<std::string> out;
  for (const auto& [name, file] : files) out.push_back(name);
  std::sort(out.begin(), out.end(), delivered_before);
  return out;
}

/// A session may have renamed the file since it was listed: looked for again under its new name.
std::string read_message(const fs::path& maildir, const std::string& name, const fs::path& file) {
  for (unsigned tries = 0;; ++tries) {
    try {
      return read_file(tries == 0 ? file : require_message(maildir, name));
    } catch (const peer_error&) {
      if (tries == 5) throw;   // not only renamed a moment ago
    }
  }
}

/// What IMAP and POP3 serve of a file: CRLF where it has a bare LF.
std::string served(const std::string& bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 40);
  char before = 0;
  for (const char c : bytes) {
    if (c == '\n' && before != '\r') out += '\r';
    out += c;
    before = c;
  }
  return out;
}

}  // namespace

fs::path dovecot_server::maildir(std::string_view address, std::string_view folder) const {
  fs::path base = state_->places.mail_dir / std::string(address);
  if (folder.empty() || folder == "INBOX") return base;
  std::string name = "." + std::string(folder);
  std::replace(name.begin(), name.end(), '/', '.');
  return base / name;
}

void dovecot_server::deliver_lmtp(std::string_view recipient, std::string_view raw) {
  tls_client line({.address = address(), .port = lmtp_port(), .tls = client_tls::none});
  const auto expect = [&](char digit, std::string_view what) {
    std::string answer = line.read_line();
    while (answer.size() > 3 && answer[3] == '-') answer = line.read_line();
    if (answer.empty() || answer[0] != digit) throw peer_error(fmt::format("LMTP, {}: {}", what, answer));
  };
  const auto say = [&](const std::string& command, char digit) {
    line.write(command + "\r\n");
    expect(digit, command);
  };
  expect('2', "greeting");
  say("LHLO localhost", '2');
  say("MAIL FROM:<customer@example.test>", '2');
  say(fmt::format("RCPT TO:<{}>", recipient), '2');
  say("DATA", '3');
  std::string stuffed = raw.substr(0, 1) == "." ? "." : "";
  char before = 0;
  for (const char c : raw) {
    if (before == '\n' && c == '.') stuffed += '.';
    stuffed += c;
    before = c;
  }
  if (before != '\n') stuffed += "\r\n";
  line.write(stuffed);
  say(".", '2');
  line.write("QUIT\r\n");
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
  // The names sort in the order of delivery: Dovecot gives UIDs to new files in the order of their names. S and W spare it reading the
  // file.
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

std::uint32_t dovecot_server::uid_validity(std::string_view address, std::string_view folder) const {
  return read_uid_list(maildir(address, folder)).validity;
}

std::uint32_t dovecot_server::reset_uid_validity(std::string_view address, std::string_view folder) {
  const fs::path target = maildir(address, folder), list = target / "dovecot-uidlist", lock = target / "dovecot-uidlist.lock";
  // Deleting the list is not enough: a session that is just ending, or just beginning, writes the old one back. The new one is made
  // in Dovecot's way: written into the lock file, which becomes the list.
  int fd = -1;
  if (!wait_until([&] { return (fd = ::open(lock.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) >= 0 || errno != EEXIST; },
                  std::chrono::seconds(10)) ||
      fd < 0)
    throw peer_error(fmt::format("cannot lock {}: {}", list.string(), std::strerror(errno)));
  ::close(fd);
  const std::uint32_t validity = read_uid_list(target).validity + 1;
  std::string lines;
  std::uint32_t uid = 0;
  for (const auto& name : in_order(files_by_name(target))) lines += fmt::format("{} :{}\n", ++uid, name);
  write_file(target / "dovecot-uidlist.peer", fmt::format("3 V{} N{} G{:032x}\n{}", validity, uid + 1, validity, lines), 0600);
  state_->own(target / "dovecot-uidlist.peer");
  fs::rename(target / "dovecot-uidlist.peer", lock);
  fs::rename(lock, list);
  // Some seconds after its last change Dovecot takes a directory for the one its index knows, and the list with it.
  fs::last_write_time(target / "cur", fs::file_time_type::clock::now());
  kick(address);
  return validity;
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

std::vector<kept_message> dovecot_server::messages(std::string_view address, std::string_view folder) const {
  const auto files = files_by_name(maildir(address, folder));
  const auto uids = read_uid_list(maildir(address, folder)).uids;
  std::vector<kept_message> out;
  for (const auto& name : in_order(files)) {
    const std::string bytes = served(read_message(maildir(address, folder), name, files.at(name)));
    const auto uid = uids.find(name);
    out.push_back({name, uid == uids.end() ? 0 : uid->second, sha256_hex(bytes), bytes.size()});
  }
  return out;
}

std::vector<std::string> dovecot_server::digests(std::string_view address, std::string_view folder) const {
  std::vector<std::string> out;
  for (auto& message : messages(address, folder)) out.push_back(std::move(message.sha256));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace mailherd::peers
