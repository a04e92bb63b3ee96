// actors/session/body_store: see the header.
#include "actors/session/body_store.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

#include "core/limits.hpp"
#include "protocol/mime/mime.hpp"

namespace mailherd::actors {

namespace {
constexpr unsigned chunks_in_flight = 2;
constexpr std::size_t understated_bytes = 64 * limits::kib;
constexpr std::size_t reserve_bytes = 128 * limits::kib;

EVP_MD_CTX* context(void* p) { return static_cast<EVP_MD_CTX*>(p); }

const EVP_MD* sha256() {
  // Fetched once: OpenSSL 3 looks an algorithm up in its providers on every implicit use.
  static EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}

duration chunk_time() { return limits::commit_deadline; }
}  // namespace

sha256_digest digest_of(std::string_view bytes) {
  sha256_digest d{};
  EVP_Digest(bytes.data(), bytes.size(), d.data(), nullptr, sha256(), nullptr);
  return d;
}

std::string_view header_block(std::string_view raw) {
  const auto end = std::min(mime::header_end(raw), raw.size());
  return raw.substr(0, std::min(end, limits::header_parse_bytes));
}

body_store::body_store(net::reactor& where, store::executor& executor, store::lease_guard guard, std::function<void()> on_change)
    : reactor_(where), executor_(executor), guard_(guard), on_change_(std::move(on_change)), digest_(EVP_MD_CTX_new()) {}

body_store::~body_store() { EVP_MD_CTX_free(context(digest_)); }

void body_store::begin(std::uint64_t announced) {
  ++generation_;
  EVP_DigestInit_ex2(context(digest_), sha256(), nullptr);
  body_ = std::make_shared<std::string>();
  inline_limit_ = static_cast<std::size_t>(std::min<std::uint64_t>(announced + understated_bytes, limits::inline_message_bytes));
  // The bytes of what is announced small come at once; what is announced large may be a lie and grows as it comes.
  if (announced <= reserve_bytes) body_->reserve(announced);
  head_.clear();
  pending_.clear();
  size_ = 0;
  blob_ = {};
  next_chunk_ = 0;
  in_flight_ = 0;
  spilled_ = ended_ = written_all_ = false;
  failed_.reset();
}

void body_store::append(std::string_view bytes) {
  size_ += bytes.size();
  EVP_DigestUpdate(context(digest_), bytes.data(), bytes.size());
  if (!spilled_ && body_->size() + bytes.size() <= inline_limit_) {
    body_->append(bytes);
    return;
  }
  if (!spilled_) {
    // Too large for one piece: what is here becomes the first chunks.
    spilled_ = true;
    head_ = body_->substr(0, limits::header_parse_bytes);
    pending_ = std::move(*body_);
    body_.reset();
    open_blob();
  }
  // The header may reach beyond what was here: its end is looked for once, when the message is complete.
  head_.append(bytes.substr(0, limits::header_parse_bytes - head_.size()));
  pending_.append(bytes);
  write_chunks();
}

void body_store::end() {
  ended_ = true;
  if (spilled_) write_chunks();
}

void body_store::open_blob() {
  ++in_flight_;
  auto self = shared_from_this();
  const auto until = mailherd::deadline::after(reactor_.now(), chunk_time());
  auto answer = [self, generation = generation_](result<blob_id> id) {
    if (generation != self->generation_) return;
    --self->in_flight_;
    if (id) {
      self->blob_ = *id;
      self->write_chunks();
    } else {
      self->failed_ = id.error();
    }
    self->on_change_();
  };
  const bool taken = executor_.submit(until, [self, answer, guard = guard_](result<store::session*> s) {
    auto id = s ? (*s)->mail.new_blob(guard) : result<blob_id>(fail(s.error()));
    self->reactor_.post([answer, id = std::move(id)] { answer(id); });
  });
  if (!taken) reactor_.post([answer] { answer(fail(failure::store_busy, "too many storage jobs are waiting")); });
}

void body_store::write_chunks() {
  while (!failed_ && blob_ && in_flight_ < chunks_in_flight && !pending_.empty() && (pending_.size() >= limits::chunk_bytes || ended_)) {
    const auto n = std::min(pending_.size(), limits::chunk_bytes);
    auto bytes = std::make_shared<const std::string>(pending_.substr(0, n));
    pending_.erase(0, n);
    ++in_flight_;
    auto self = shared_from_this();
    auto answer = [self, generation = generation_](result<void> r) {
      if (generation != self->generation_) return;
      --self->in_flight_;
      if (!r && !self->failed_) self->failed_ = r.error();
      self->write_chunks();
      self->on_change_();
    };
    const auto until = mailherd::deadline::after(reactor_.now(), chunk_time());
    const bool taken = executor_.submit(until, [self, answer, guard = guard_, blob = blob_, index = next_chunk_, bytes](result<store::session*> s) {
      auto r = s ? (*s)->mail.put_chunk(guard, blob, index, *bytes) : result<void>(fail(s.error()));
      self->reactor_.post([answer, r = std::move(r)] { answer(r); });
    });
    ++next_chunk_;
    if (!taken) reactor_.post([answer] { answer(fail(failure::store_busy, "too many storage jobs are waiting")); });
  }
  written_all_ = ended_ && blob_ && pending_.empty();
}

void body_store::take(store::incoming_message& into) {
  into.size = size_;
  EVP_DigestFinal_ex(context(digest_), into.digest.data(), nullptr);
  const std::string_view head = header_block(spilled_ ? head_ : *body_);
  into.header_digest = digest_of(head);
  into.envelope = mime::parse_envelope(head);
  if (spilled_) {
    into.blob = blob_;
  } else {
    if (body_->capacity() > body_->size() + body_->size() / 4) body_->shrink_to_fit();
    into.body = std::move(body_);
  }
}

void body_store::take_headers(store::incoming_message& into) {
  const std::string_view head = header_block(spilled_ ? head_ : *body_);
  into.header_digest = digest_of(head);
  into.envelope = mime::parse_envelope(head);
  body_.reset();
}

}  // namespace mailherd::actors
