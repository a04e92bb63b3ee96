// transport/http: libcurl's multi interface on the reactors' loops.
#include "transport/http.hpp"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "core/limits.hpp"
#include "transport/http_job.hpp"
#include "transport/tls.hpp"

namespace mailherd::net {

namespace {

using job_ptr = std::shared_ptr<http_job>;

/// One libcurl multi on one reactor. Made anywhere; everything else happens on the reactor's thread.
class http_engine final : public std::enable_shared_from_this<http_engine> {
 public:
  http_engine(io_reactor& where, dial_environment environment, X509_STORE* trust, std::size_t active)
      : reactor_(where), environment_(std::move(environment)), trust_(trust), most_(active) {}

  ~http_engine() {
    end();
    X509_STORE_free(trust_);
  }

  void submit(job_ptr job) {
    if (!begin()) return job->answer(fail(failure::internal, "libcurl cannot begin"));
    if (auto fine = job->accept(); !fine) return job->answer(fail(std::move(fine.error())));
    if (waiting_.size() >= limits::http_waiting) return job->answer(fail(failure::limit_exceeded, "too many HTTP requests wait"));
    job->expiry = reactor_.at(job->until().at, [this, weak = std::weak_ptr(job)] {
      if (const auto late = weak.lock()) expired(late);
    });
    waiting_.push_back(std::move(job));
    start_waiting();
  }

 private:
  /// Ends the engine with its reactor.
  struct anchor final : tracked {
    anchor(io_reactor& where, http_engine& engine) : tracked(where), e(engine) {}
    void abandon() override {
      const auto keep = e.weak_from_this().lock();
      e.end();
    }
    http_engine& e;
  };

  struct watched {
    std::unique_ptr<descriptor> socket;
    int what = 0;
  };

  bool begin() {
    if (ended_ || multi_ != nullptr) return multi_ != nullptr;
    multi_ = curl_multi_init();
    if (multi_ == nullptr) return false;
    anchor_ = std::make_unique<anchor>(reactor_, *this);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &http_engine::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &http_engine::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(most_));
    return true;
  }

  void end() {
    if (std::exchange(ended_, true)) return;
    auto active = std::exchange(active_, {});
    auto waiting = std::exchange(waiting_, {});
    for (const auto& job : active) {
      if (job->easy() != nullptr) curl_multi_remove_handle(multi_, job->easy());
      job->release();
    }
    if (multi_ != nullptr) curl_multi_cleanup(multi_);
    multi_ = nullptr;
    timer_.reset();
    sockets_.clear();
    for (const auto& job : active) job->answer(fail(failure::cancelled, "the node stops"));
    for (const auto& job : waiting) job->answer(fail(failure::cancelled, "the node stops"));
  }

  void start_waiting() {
    while (!ended_ && !waiting_.empty() && active_.size() < most_) {
      job_ptr job = std::move(waiting_.front());
      waiting_.pop_front();
      if (job->answered()) continue;   // expired in the queue
      active_.insert(job);
      look_up(job);
    }
  }

  void look_up(const job_ptr& job) {
    environment_.names.resolve(reactor_, job->host(), [engine = weak_from_this(), weak = std::weak_ptr(job)](result<address_list> found) {
      const auto self = engine.lock();
      const auto looked_up = weak.lock();
      if (self && looked_up && self->active_.count(looked_up) != 0) self->transfer(looked_up, std::move(found));
    });
  }

  void transfer(const job_ptr& job, result<address_list> found) {
    if (!found) return over(job, fail(std::move(found.error())));
    const ip_address first = found->front();
    std::erase_if(*found, [&](const ip_address& a) { return !environment_.policy.allows(job->host(), a.text()); });
    if (found->empty()) return over(job, fail(refused_target(job->host(), first)));
    auto easy = job->prepare(*found, {environment_.policy, trust_, environment_.source});
    if (!easy) return over(job, fail(std::move(easy.error())));
    if (curl_multi_add_handle(multi_, *easy) != CURLM_OK) return over(job, fail(failure::internal, "libcurl does not take the request"));
  }

  void over(const job_ptr& job, result<http_reply> what) {
    const job_ptr keep = job;
    active_.erase(keep);
    keep->release();
    keep->answer(std::move(what));
    start_waiting();
  }

  void expired(const job_ptr& job) {
    const bool active = active_.count(job) != 0;
    const auto text = fmt::format("the deadline passed during {}", active ? job->phase() : "the wait for other requests");
    if (active && job->easy() != nullptr) curl_multi_remove_handle(multi_, job->easy());
    over(job, fail(failure::timed_out, text));
  }

  // ---- curl's wishes ------------------------------------------------------------------------------------------------------------

  static int on_socket(CURL*, curl_socket_t fd, int what, void* user, void*) {
    auto* self = static_cast<http_engine*>(user);
    if (self->ended_) return 0;
    if (what == CURL_POLL_REMOVE) {
      self->sockets_.erase(fd);
      return 0;
    }
    auto& w = self->sockets_[fd];
    if (!w.socket) {
      // A duplicate: curl closes its own when it likes, and the number may come back as another socket before we hear of it.
      const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
      if (copy >= 0) w.socket = self->reactor_.watch(copy);
      if (!w.socket || w.socket->fd() < 0) {
        self->sockets_.erase(fd);
        return -1;
      }
    }
    w.what = what;
    w.socket->cancel();
    self->arm(fd);
    return 0;
  }

  void arm(int fd) {
    const auto found = sockets_.find(fd);
    if (found == sockets_.end()) return;
    const watched& w = found->second;
    if ((w.what & CURL_POLL_IN) != 0) w.socket->wait_readable([this, fd] { act(fd, CURL_CSELECT_IN); });
    if ((w.what & CURL_POLL_OUT) != 0) w.socket->wait_writable([this, fd] { act(fd, CURL_CSELECT_OUT); });
  }

  static int on_timer(CURLM*, long timeout_ms, void* user) {
    auto* self = static_cast<http_engine*>(user);
    if (self->ended_) return 0;
    self->timer_.reset();
    if (timeout_ms < 0) return 0;
    // Never acted on from here: curl forbids calling it from within its callbacks.
    self->timer_ = self->reactor_.at(self->reactor_.now() + milliseconds(timeout_ms), [self] { self->act(CURL_SOCKET_TIMEOUT, 0); });
    return 0;
  }

  void act(curl_socket_t fd, int flags) {
    const auto keep = shared_from_this();
    if (ended_) return;
    int running = 0;
    curl_multi_socket_action(multi_, fd, flags, &running);
    arm(fd);
    int left = 0;
    while (!ended_) {
      const CURLMsg* message = curl_multi_info_read(multi_, &left);
      if (message == nullptr) break;
      if (message->msg == CURLMSG_DONE) done(message->easy_handle, message->data.result);
    }
  }

  void done(CURL* easy, CURLcode code) {
    http_job* raw = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &raw);
    curl_multi_remove_handle(multi_, easy);
    const auto found = std::find_if(active_.begin(), active_.end(), [raw](const job_ptr& j) { return j.get() == raw; });
    if (found == active_.end()) return;
    const job_ptr job = *found;
    const bool again = job->ended(code);
    job->release();
    if (again) return look_up(job);
    active_.erase(job);
    start_waiting();
  }

  io_reactor& reactor_;
  dial_environment environment_;
  X509_STORE* trust_;
  const std::size_t most_;   ///< requests under way, and idle connections kept
  CURLM* multi_ = nullptr;
  bool ended_ = false;
  std::unique_ptr<anchor> anchor_;
  std::unique_ptr<timer> timer_;
  std::unordered_map<int, watched> sockets_;
  std::unordered_set<job_ptr> active_;
  std::deque<job_ptr> waiting_;
};

}  // namespace

struct net_http_client::state {
  struct place {
    io_reactor* where;
    std::shared_ptr<http_engine> engine;
  };
  std::vector<place> places;
  std::atomic<std::size_t> next{0};
};

net_http_client::net_http_client() : state_(std::make_unique<state>()) {}
net_http_client::~net_http_client() = default;

result<std::unique_ptr<net_http_client>> net_http_client::create(const std::vector<io_reactor*>& reactors, dial_environment environment,
                                                                 const std::string& ca_file, std::size_t active) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_ALL); });
  std::unique_ptr<net_http_client> out(new net_http_client);
  for (io_reactor* r : reactors) {
    auto trust = make_trust_store(ca_file);   // one each: curl sets flags on it
    if (!trust) return fail(std::move(trust.error()));
    out->state_->places.push_back({r, std::make_shared<http_engine>(*r, environment, *trust, active)});
  }
  return out;
}

void net_http_client::send(http_request request, deadline until, std::function<void(result<http_reply>)> on_done) {
  // The job answers when it is destroyed, so that work which a stopping reactor drops is answered as well.
  auto job = std::make_shared<http_job>(std::move(request), until, std::move(on_done));
  const auto& place = state_->places[state_->next++ % state_->places.size()];
  place.where->post([engine = place.engine, job = std::move(job)] { engine->submit(job); });
}

}  // namespace mailherd::net
