// storage/keyring: see the header.
//
// A sealed value, version 1:
//   "mh" 0x01 | length of id | id | nonce 12 | wrapped data key 32 | tag 16 | nonce 12 | ciphertext, as long as the plaintext | tag 16
// Both layers authenticate the header (magic, version, id), the context, and which layer they are; the data layer is bound to its wrapped
// key by being encrypted with it. No part of a sealed value can be put into another one or read as another version.
#include "storage/keyring.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "core/base64.hpp"

namespace mailherd::store {

namespace {

constexpr std::string_view magic = "mh";
constexpr char version = 1;
constexpr std::size_t key_bytes = 32;
constexpr std::size_t nonce_bytes = 12;
constexpr std::size_t tag_bytes = 16;
constexpr std::size_t id_bytes_max = 32;
/// The library counts in int.
constexpr std::size_t piece_bytes = std::size_t{1} << 30;

constexpr char key_layer = 'k';
constexpr char data_layer = 'd';

bool is_id_character(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; }

bool is_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= id_bytes_max && std::all_of(text.begin(), text.end(), is_id_character);
}

/// A data key, wiped wherever the scope is left.
struct data_key {
  std::array<char, key_bytes> bytes{};
  data_key() = default;
  data_key(const data_key&) = delete;
  data_key& operator=(const data_key&) = delete;
  ~data_key() { wipe(bytes.data(), bytes.size()); }
  [[nodiscard]] std::string_view view() const noexcept { return {bytes.data(), bytes.size()}; }
};

unsigned char* raw(char* p) noexcept { return reinterpret_cast<unsigned char*>(p); }
const unsigned char* raw(const char* p) noexcept { return reinterpret_cast<const unsigned char*>(p); }

/// Going on without randomness would repeat nonces, which gives the key away: there is no value to return instead.
void require(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}

void fill_randomly(char* to, std::size_t size, bool is_key) {
  require((is_key ? RAND_priv_bytes(raw(to), static_cast<int>(size)) : RAND_bytes(raw(to), static_cast<int>(size))) == 1,
          "no randomness from the operating system");
}

/// One AES-256-GCM operation. Its context (with the key schedule) is wiped by the library when it is freed; what the library wrote into
/// this thread's error queue is taken out again, or the next TLS call of the thread would take it for its own.
class gcm {
 public:
  gcm(bool encrypt, std::string_view key, std::string_view nonce, std::string_view authenticated) : context_(EVP_CIPHER_CTX_new()) {
    ERR_set_mark();
    require(context_ != nullptr && key.size() == key_bytes && nonce.size() == nonce_bytes &&
                EVP_CipherInit_ex2(context_, EVP_aes_256_gcm(), raw(key.data()), raw(nonce.data()), encrypt ? 1 : 0, nullptr) == 1,
            "AES-256-GCM cannot be used");
    update(nullptr, authenticated);
  }
  gcm(const gcm&) = delete;
  gcm& operator=(const gcm&) = delete;
  ~gcm() {
    EVP_CIPHER_CTX_free(context_);
    ERR_pop_to_mark();
  }

  /// `to` null: authenticated only.
  void update(char* to, std::string_view from) {
    while (!from.empty()) {
      const std::string_view piece = from.substr(0, piece_bytes);
      const int size = static_cast<int>(piece.size());
      int written = 0;
      const int ok = EVP_CipherUpdate(context_, to == nullptr ? nullptr : raw(to), &written, raw(piece.data()), size);
      require(ok == 1, "AES-256-GCM failed");
      if (to != nullptr) to += piece.size();
      from.remove_prefix(piece.size());
    }
  }

  void finish(char* tag) {
    std::array<unsigned char, tag_bytes> none{};
    int written = 0;
    require(EVP_CipherFinal_ex(context_, none.data(), &written) == 1, "AES-256-GCM failed");
    require(EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_GET_TAG, tag_bytes, tag) == 1, "AES-256-GCM failed");
  }

  [[nodiscard]] bool verify(std::string_view tag) {
    std::array<char, tag_bytes> expected{};
    std::copy(tag.begin(), tag.end(), expected.begin());
    std::array<unsigned char, tag_bytes> none{};
    int written = 0;
    return EVP_CIPHER_CTX_ctrl(context_, EVP_CTRL_AEAD_SET_TAG, tag_bytes, expected.data()) == 1 &&
           EVP_CipherFinal_ex(context_, none.data(), &written) == 1;
  }

 private:
  EVP_CIPHER_CTX* context_;
};

std::string authenticated_part(char layer, std::string_view header, std::string_view context) {
  std::string out;
  out.reserve(1 + header.size() + context.size());
  out.append(1, layer).append(header).append(context);  // the header says its own length: no other pair gives the same bytes
  return out;
}

/// The parts of a sealed value, as views into it.
struct envelope {
  std::string_view header, id;
  std::string_view key_nonce, wrapped_key, key_tag;
  std::string_view nonce, ciphertext, tag;
};

constexpr std::size_t overhead_after_id = nonce_bytes + key_bytes + tag_bytes + nonce_bytes + tag_bytes;

bool is_of_this_version(std::string_view sealed) noexcept {
  return sealed.size() > magic.size() && sealed.substr(0, magic.size()) == magic && sealed[magic.size()] == version;
}

std::optional<envelope> take_apart(std::string_view sealed) noexcept {
  constexpr std::size_t id_at = magic.size() + 2;
  if (!is_of_this_version(sealed) || sealed.size() < id_at) return std::nullopt;
  const std::size_t id_size = static_cast<unsigned char>(sealed[id_at - 1]);
  if (sealed.size() < id_at + id_size + overhead_after_id || !is_id(sealed.substr(id_at, id_size))) return std::nullopt;
  envelope out;
  std::size_t at = 0;
  const auto take = [&](std::size_t n) { return sealed.substr(std::exchange(at, at + n), n); };
  out.header = take(id_at + id_size);
  out.id = out.header.substr(id_at);
  out.key_nonce = take(nonce_bytes);
  out.wrapped_key = take(key_bytes);
  out.key_tag = take(tag_bytes);
  out.nonce = take(nonce_bytes);
  out.ciphertext = take(sealed.size() - at - tag_bytes);
  out.tag = take(tag_bytes);
  return out;
}

tl::unexpected<error> malformed(std::string_view sealed) {
  if (sealed.size() > magic.size() && sealed.substr(0, magic.size()) == magic && sealed[magic.size()] > version)
    return fail(failure::seal_failed, fmt::format("sealed by a newer program, or altered: format {}, this program knows {}",
                                                  static_cast<int>(sealed[magic.size()]), static_cast<int>(version)));
  return fail(failure::seal_failed, "not a sealed value, or altered");
}

std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view blank = " \t\r";
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

/// Takes what stands before the next `separator` off the front of `text`.
std::string_view take_until(std::string_view& text, char separator) noexcept {
  const auto end = std::min(text.find(separator), text.size());
  const std::string_view out = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return out;
}

struct parsed_key {
  std::string_view id;
  secret<> key;
};

/// The error says what is wrong and never repeats a part of the entry: with the colon misplaced the "id" may be the key.
result<parsed_key> parse_entry(std::string_view entry) {
  const auto colon = entry.find(':');
  if (colon == std::string_view::npos) return fail(failure::invalid_input, "has no \":\" between id and key");
  const std::string_view id = entry.substr(0, colon);
  if (!is_id(id)) return fail(failure::invalid_input, fmt::format("its id is not 1 to {} characters of a-z, 0-9, _ and -", id_bytes_max));
  auto decoded = base64_decode(entry.substr(colon + 1));
  if (!decoded) return fail(failure::invalid_input, "its key is not base64 (with padding)");
  secret<> key{std::move(*decoded)};
  if (key.reveal().size() != key_bytes)
    return fail(failure::invalid_input, fmt::format("its key has {} bytes instead of {}", key.reveal().size(), key_bytes));
  return parsed_key{id, std::move(key)};
}

}  // namespace

result<std::shared_ptr<const keyring>> keyring::parse(const secret<>& text) {
  std::vector<master_key> keys;
  std::string_view rest = text.reveal();
  for (unsigned number = 1; !rest.empty(); ++number) {
    std::string_view line = trimmed(take_until(rest, '\n'));
    if (line.substr(0, 1) == "#") continue;
    while (!line.empty()) {
      const std::string_view entry = trimmed(take_until(line, ','));
      if (entry.empty()) continue;
      auto one = parse_entry(entry);
      if (one && std::any_of(keys.begin(), keys.end(), [&](const master_key& k) { return k.id == one->id; }))
        one = fail(failure::invalid_input, "its id is that of an earlier key");
      if (!one) return fail(failure::invalid_input, fmt::format("keyring, line {}: {}", number, one.error().detail));
      keys.push_back({std::string(one->id), std::move(one->key)});
    }
  }
  if (keys.empty()) return fail(failure::invalid_input, "keyring: there is no key in it");
  return std::shared_ptr<const keyring>(new keyring(std::move(keys)));
}

secret<> keyring::generate() {
  std::array<char, 4> id{};
  fill_randomly(id.data(), id.size(), false);
  data_key key;
  fill_randomly(key.bytes.data(), key.bytes.size(), true);
  std::string line = "k";
  line.reserve(64);  // so that it never grows, which would leave a copy of the key behind
  for (const char c : id) line.append(fmt::format("{:02x}", static_cast<unsigned char>(c)));
  const secret<> encoded{base64_encode(key.view())};
  line.append(":").append(encoded.reveal());
  return secret<>{std::move(line)};
}

std::string keyring::seal(std::string_view context, std::string_view plain) const {
  const master_key& master = keys_.front();
  data_key key;
  std::array<char, nonce_bytes> key_nonce{};
  std::array<char, nonce_bytes> nonce{};
  fill_randomly(key.bytes.data(), key.bytes.size(), true);
  fill_randomly(key_nonce.data(), key_nonce.size(), false);
  fill_randomly(nonce.data(), nonce.size(), false);

  std::string header{magic};
  header.append(1, version).append(1, static_cast<char>(master.id.size())).append(master.id);
  std::string out(header.size() + overhead_after_id + plain.size(), '\0');
  char* at = std::copy(header.begin(), header.end(), out.data());
  const auto layer = [&](char which, std::string_view with, const std::array<char, nonce_bytes>& once, std::string_view what) {
    at = std::copy(once.begin(), once.end(), at);
    gcm cipher(true, with, {once.data(), once.size()}, authenticated_part(which, header, context));
    cipher.update(at, what);
    cipher.finish(at + what.size());
    at += what.size() + tag_bytes;
  };
  layer(key_layer, master.key.reveal(), key_nonce, key.view());
  layer(data_layer, key.view(), nonce, plain);
  return out;
}

result<secret<>> keyring::open(std::string_view context, std::string_view sealed) const {
  const auto parts = take_apart(sealed);
  if (!parts) return malformed(sealed);
  const auto master = std::find_if(keys_.begin(), keys_.end(), [&](const master_key& k) { return k.id == parts->id; });
  if (master == keys_.end()) return fail(failure::seal_failed, fmt::format("master key \"{}\" is not in the keyring", parts->id));

  data_key key;
  gcm unwrap(false, master->key.reveal(), parts->key_nonce, authenticated_part(key_layer, parts->header, context));
  unwrap.update(key.bytes.data(), parts->wrapped_key);
  if (!unwrap.verify(parts->key_tag))
    return fail(failure::seal_failed, fmt::format("altered, or sealed for another place or with another key named \"{}\"", parts->id));

  std::string plain;
  plain.reserve(std::max(parts->ciphertext.size(), key_bytes));  // on the heap: moving a short string would leave a copy on the stack
  plain.resize(parts->ciphertext.size());
  gcm cipher(false, key.view(), parts->nonce, authenticated_part(data_layer, parts->header, context));
  cipher.update(plain.data(), parts->ciphertext);
  secret<> out{std::move(plain)};
  if (!cipher.verify(parts->tag)) return fail(failure::seal_failed, "the value was altered");
  return out;
}

std::string_view keyring::sealing_id() const noexcept { return keys_.front().id; }

std::string_view keyring::id_of(std::string_view sealed) noexcept {
  const auto parts = take_apart(sealed);
  return parts ? parts->id : std::string_view{};
}

}  // namespace mailherd::store
