// libcurl and epoll for Swift. Swift cannot call C's variadic functions, so each kind of option and of info that
// the client uses has a typed doorway here.
#pragma once
#include <curl/curl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

typedef size_t (*holdfast_curl_data_callback)(char *, size_t, size_t, void *);
typedef int (*holdfast_curl_socket_callback)(CURL *, curl_socket_t, int, void *, void *);
typedef int (*holdfast_curl_timer_callback)(CURLM *, long, void *);

static inline CURLcode holdfast_curl_set_long(CURL *easy, CURLoption option, long value) {
  return curl_easy_setopt(easy, option, value);
}
static inline CURLcode holdfast_curl_set_offset(CURL *easy, CURLoption option, curl_off_t value) {
  return curl_easy_setopt(easy, option, value);
}
static inline CURLcode holdfast_curl_set_string(CURL *easy, CURLoption option, const char *value) {
  return curl_easy_setopt(easy, option, value);
}
static inline CURLcode holdfast_curl_set_pointer(CURL *easy, CURLoption option, const void *value) {
  return curl_easy_setopt(easy, option, value);
}
static inline CURLcode holdfast_curl_set_list(CURL *easy, CURLoption option, struct curl_slist *value) {
  return curl_easy_setopt(easy, option, value);
}
static inline CURLcode holdfast_curl_set_callback(CURL *easy, CURLoption option, holdfast_curl_data_callback value) {
  return curl_easy_setopt(easy, option, value);
}
/// libcurl keeps a copy of the bytes.
static inline CURLcode holdfast_curl_set_blob(CURL *easy, CURLoption option, const void *bytes, size_t count) {
  struct curl_blob blob = {(void *)bytes, count, CURL_BLOB_COPY};
  return curl_easy_setopt(easy, option, &blob);
}
static inline CURLcode holdfast_curl_get_long(CURL *easy, CURLINFO info, long *value) {
  return curl_easy_getinfo(easy, info, value);
}
static inline CURLcode holdfast_curl_get_pointer(CURL *easy, CURLINFO info, void **value) {
  return curl_easy_getinfo(easy, info, (char **)value);
}
static inline CURLMcode holdfast_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
  return curl_multi_setopt(multi, option, value);
}
static inline CURLMcode holdfast_curl_multi_set_callbacks(
    CURLM *multi, holdfast_curl_socket_callback socket, holdfast_curl_timer_callback timer, void *context) {
  CURLMcode code = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket);
  if (code == CURLM_OK) code = curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, context);
  if (code == CURLM_OK) code = curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer);
  if (code == CURLM_OK) code = curl_multi_setopt(multi, CURLMOPT_TIMERDATA, context);
  return code;
}
/// The calling thread's name, as `ps -L` and debuggers show it.
static inline void holdfast_name_thread(const char *name) { prctl(PR_SET_NAME, name); }
/// The result that a CURLMSG_DONE message carries, which is in a union.
static inline CURLcode holdfast_curl_result(const CURLMsg *message) { return message->data.result; }
