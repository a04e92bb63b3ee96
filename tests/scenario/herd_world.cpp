#include "tests/scenario/herd_world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <random>

namespace mailherd::test {

namespace {

std::string hex(const sha256_digest& d) {
  std::string out;
  for (const auto b : d) out += fmt::format("{:02x}", b);
  return out;
}

}  // namespace

void heard_telemetry::log(actors::log_level level, std::string_view sentence, std::initializer_list<actors::log_field> fields) {
  std::string line = level == actors::log_level::debug ? "debug " : "";
  line += sentence;
  for (const auto& f : fields) line += fmt::format(" {}={}", f.key, f.value);
  const std::lock_guard lock(guard_);
  lines_.push_back(std::move(line));
}

void heard_telemetry::add(const std::string& what, double n) {
  const std::lock_guard lock(guard_);
  counts_[what] += n;
}

double heard_telemetry::count(const std::string& what) const {
  const std::lock_guard lock(guard_);
  const auto at = counts_.find(what);
  return at == counts_.end() ? 0 : at->second;
}

std::string heard_telemetry::lines() const {
  const std::lock_guard lock(guard_);
  std::string out;
  const std::size_t from = lines_.size() > 60 ? lines_.size() - 60 : 0;
  for (std::size_t i = from; i < lines_.size(); ++i) out += "  " + lines_[i] + "\n";
  return out;
}

herd_world::herd_world(const peers::test_ca* authority) {
  store::postgres::options s;
  s.url = database_.url();
  s.keys = test_keys();
  auto opened = store::postgres::open(s);
  if (!opened) throw std::runtime_error(describe(opened.error()));
  store_ = std::move(*opened);
  net::network_options n;
  n.policy = *net::target_policy::parse("all");
  n.ca_file = (authority != nullptr ? *authority : ca_).ca_file();
  auto network = net::network::create(n);
  if (!network) throw std::runtime_error(describe(network.error()));
  network_ = std::move(*network);
  budget_ = std::make_shared<actors::fetch_budget>(limits::fetch_budget_bytes);
  const auto made = ask([](store::session& s2) { return s2.admin.create_tenant("Acme", {}); });
  if (!made) throw std::runtime_error(describe(made.error()));
  tenant_ = made->id;
}

herd_world::~herd_world() {
  stop_herd();
  if (HasFailure()) std::fprintf(stderr, "what the herd said:\n%s", report_.lines().c_str());
}

void herd_world::start_herd(const std::function<void(actors::herd_options&)>& adjust) {
  actors::environment env;
  env.options.node_name = "node-a";
  env.options.version = "test";
  env.options.poll_interval = seconds(1);
  if (adjust) adjust(env.options);
  for (std::size_t i = 0; i < network_->reactors(); ++i) env.reactors.push_back(&network_->at(i));
  env.dialer = &network_->dial();
  env.http = &network_->http();
  env.store = store_.get();
  env.report = &report_;
  env.budget = budget_;
  env.wall_now = [] { return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now()); };
  env.random = [source = std::make_shared<std::mt19937_64>(std::random_device{}()), guard = std::make_shared<std::mutex>()] {
    const std::lock_guard lock(*guard);
    return (*source)();
  };
  herd_ = actors::herd::start(std::move(env), 2);
}

void herd_world::stop_herd() {
  if (!herd_) return;
  EXPECT_TRUE(herd_->stop(seconds(20))) << "something had to be killed";
  herd_.reset();
}

channel_spec herd_world::spec(const std::string& host, std::uint16_t port) {
  channel_spec s;
  s.name = "Support";
  s.address = "support@acme.test";
  s.incoming.host = host;
  s.incoming.port = port;
  s.start.from = start_point::kind::all;
  return s;
}

credential herd_world::password(const std::string& user, const std::string& word) {
  credential c;
  c.username = user;
  c.password = secret<>(word);
  return c;
}

channel_id herd_world::add_channel(const channel_spec& spec, const credential& auth) {
  const auto made = ask([&](store::session& s) { return s.admin.create_channel({}, tenant_, spec, auth, "test"); });
  if (!made) throw std::runtime_error(describe(made.error()));
  if (herd_) herd_->changed(tenant_, made->id);
  return made->id;
}

void herd_world::change_channel(channel_id id, const channel_spec& spec) {
  const auto done = ask([&](store::session& s) { return s.admin.update_channel({}, tenant_, id, spec, 0, "test"); });
  ASSERT_TRUE(done) << describe(done.error());
  if (herd_) herd_->changed(tenant_, id);
}

std::int64_t herd_world::change_credential(channel_id id, const credential& auth) {
  const auto done = ask([&](store::session& s) { return s.admin.put_credential({}, tenant_, id, auth, "test"); });
  if (!done) throw std::runtime_error(describe(done.error()));
  if (herd_) herd_->changed(tenant_, id);
  return *done;
}

channel_record herd_world::channel(channel_id id) {
  const auto found = ask([&](store::session& s) { return s.admin.get_channel({}, tenant_, id); });
  if (!found) throw std::runtime_error(describe(found.error()));
  return *found;
}

std::vector<kept> herd_world::mail(channel_id id) {
  std::vector<kept> out;
  for (std::int64_t after = 0;;) {
    const auto page = ask([&](store::session& s) { return s.admin.feed({}, tenant_, id, after, 500); });
    if (!page) throw std::runtime_error(describe(page.error()));
    if (page->empty()) return out;
    for (const auto& m : *page) {
      kept k;
      k.sequence = m.sequence;
      k.message = m;
      if (m.has_body) {
        std::string body;
        const auto read = ask([&](store::session& s) {
          return s.admin.read_body({}, m.id, [&](std::string_view bytes) {
            body += bytes;
            return true;
          });
        });
        if (!read) throw std::runtime_error(describe(read.error()));
        k.sha256 = hex(m.digest);
        k.body_sha256 = peers::sha256_hex(body);
      }
      out.push_back(std::move(k));
      after = m.id.position;
    }
  }
}

std::vector<std::string> herd_world::digests(channel_id id) {
  std::vector<std::string> out;
  for (const auto& k : mail(id)) out.push_back(k.body_sha256);
  std::sort(out.begin(), out.end());
  return out;
}

::testing::AssertionResult herd_world::wait_state(channel_id id, channel_state state, const std::string& reason) {
  const bool good = wait([&] {
    const auto c = channel(id);
    return c.state == state && (reason == "*" || c.state_reason == reason);
  });
  if (good) return ::testing::AssertionSuccess();
  const auto c = channel(id);
  return ::testing::AssertionFailure() << "the channel is " << to_string(c.state) << " (" << c.state_reason << ": " << c.state_detail << "), not "
                                       << to_string(state) << " (" << reason << ")";
}

::testing::AssertionResult herd_world::wait_stored(channel_id id, std::int64_t messages) {
  if (wait([&] { return channel(id).messages_stored >= messages; })) return ::testing::AssertionSuccess();
  const auto c = channel(id);
  return ::testing::AssertionFailure() << c.messages_stored << " messages are stored, not " << messages << "; the channel is " << to_string(c.state)
                                       << " (" << c.state_reason << ": " << c.state_detail << ")";
}

::testing::AssertionResult herd_world::holds_exactly(channel_id id, std::vector<std::string> raws) {
  std::vector<std::string> want;
  for (const auto& r : raws) want.push_back(peers::sha256_hex(r));
  std::sort(want.begin(), want.end());
  return holds_digests(id, std::move(want));
}

::testing::AssertionResult herd_world::holds_digests(channel_id id, std::vector<std::string> sorted) {
  const auto all = mail(id);
  std::vector<std::string> have;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].sequence != static_cast<std::int64_t>(i) + 1)
      return ::testing::AssertionFailure() << "sequence " << all[i].sequence << " stands where " << i + 1 << " belongs";
    if (all[i].message.has_body && all[i].sha256 != all[i].body_sha256) return ::testing::AssertionFailure() << "a stored digest is not its body's";
    have.push_back(all[i].body_sha256);
  }
  std::sort(have.begin(), have.end());
  if (have == sorted) return ::testing::AssertionSuccess();
  std::vector<std::string> missing, extra;
  std::set_difference(sorted.begin(), sorted.end(), have.begin(), have.end(), std::back_inserter(missing));
  std::set_difference(have.begin(), have.end(), sorted.begin(), sorted.end(), std::back_inserter(extra));
  return ::testing::AssertionFailure() << have.size() << " messages are stored, " << sorted.size() << " were on the server; " << missing.size()
                                       << " are missing, " << extra.size() << " are there that should not be or are there twice";
}

}  // namespace mailherd::test
