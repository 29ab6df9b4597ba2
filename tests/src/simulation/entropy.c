#define _GNU_SOURCE
/* Random numbers from the seed of a simulation, in place of the kernel's. Preloaded into the
 * process of one seed, so that the keys of hash maps, the turns of select and the names of files
 * are the same whenever the seed is. Never part of a program that is released.
 *
 * GRND_INSECURE (4) is how Rust's standard library asks for the keys of hash maps, once in each
 * thread: they get the same bytes everywhere, whichever thread asks first.
 *
 * The threads named "library" run beside one another, and how many of them take part is up to the
 * machine. They draw from numbers of their own, so that what they draw changes nobody else's. */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static uint64_t state, state_of_libraries;

static uint64_t next(uint64_t *from) {
    uint64_t z = __atomic_add_fetch(from, 0x9e3779b97f4a7c15u, __ATOMIC_SEQ_CST);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t seed(void) {
    const char *text = getenv("MERIDIAN_SIMULATION_SEED");
    return text ? strtoull(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void) {
    state = seed();
    state_of_libraries = ~state;
}

static int is_library(void) {
    char name[16] = "";
    return pthread_getname_np(pthread_self(), name, sizeof name) == 0 && !strcmp(name, "library");
}

ssize_t getrandom(void *buffer, size_t bytes, unsigned flags) {
    uint64_t keys = seed();
    uint64_t *from = (flags & 4u) ? &keys : is_library() ? &state_of_libraries : &state;
    for (size_t i = 0; i < bytes; i++) ((uint8_t *)buffer)[i] = (uint8_t)next(from);
    return (ssize_t)bytes;
}
