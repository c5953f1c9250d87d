/* A stand-in for NVIDIA's libnvidia-ml.so.1, at its ABI: the functions that layertune calls through pynvml.
 *
 * What it answers is in the text file named by FAKE_NVML, read anew at each call, so that a test can change it in the
 * middle of a trial. One "key value..." a line:
 *
 *   <symbol> <code>          the function returns that nvmlReturn_t (13 is what pynvml makes of a missing symbol)
 *   total|reserved|used <n>  memory in bytes
 *   compute|graphics <pid|self> <bytes|na>   one line a process
 *   use <pid|self> <percent> [<timestamp>]   one line a process, stamped now; one with a
 *                            timestamp is always there, as those of processes that are gone can be
 *   load|clock|max_clock|limit|reasons|mig <n>   percent, MHz, MHz, mW, bits, 0 or 1
 *   quiet_success 1          no process used the GPU: success without entries instead of NVML_ERROR_NOT_FOUND
 *   delay_us <n>             what reading the memory takes
 *
 * Compiled with -DOLD_DRIVER it lacks the newer symbols. Struct layouts: pynvml.py, which cites nvml.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, ARGUMENT_VERSION_MISMATCH = 25 };

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } memory_v1;
typedef struct { unsigned version; u64 total, reserved, free, used; } memory_v2;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } process;
typedef struct { unsigned pid; u64 stamp; unsigned sm, mem, enc, dec; } use_sample;
typedef struct { unsigned gpu, memory; } utilization;

/* Call `each` with the rest of every line that begins with `key`; return how many there were. */
static int lines(const char *key, void (*each)(const char *rest, void *into), void *into) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[256];
    size_t length = strlen(key);
    int n = 0;
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, length) && line[length] == ' ') {
            if (each) each(line + length + 1, into);
            n++;
        }
    if (file) fclose(file);
    return n;
}

static void read_number(const char *rest, void *into) { *(u64 *)into = strtoull(rest, NULL, 0); }

static u64 number(const char *key) {
    u64 value = 0;
    lines(key, read_number, &value);
    return value;
}

#define ANSWER(symbol) do { int code = (int)number(#symbol); if (code) return code; } while (0)

static void delay(void) {
    unsigned delay_us = (unsigned)number("delay_us");
    if (delay_us) usleep(delay_us);
}

static unsigned pid_of(const char *rest) {
    return strncmp(rest, "self", 4) ? (unsigned)atoi(rest) : (unsigned)getpid();
}

static u64 now_us(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return (u64)now.tv_sec * 1000000 + (u64)now.tv_usec;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; ANSWER(nvmlInitWithFlags); return SUCCESS; }
int nvmlShutdown(void) { ANSWER(nvmlShutdown); return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "An error of the fake driver"; }

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    ANSWER(nvmlSystemGetDriverVersion);
    snprintf(version, length, "560.35.03");
    return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **card) {
    static int the_card;
    ANSWER(nvmlDeviceGetHandleByPciBusId_v2);
    if (strcmp(bus_id, "0000:01:00.0")) return NOT_FOUND;
    *card = &the_card;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *card, memory_v1 *memory) {
    (void)card;
    ANSWER(nvmlDeviceGetMemoryInfo);
    delay();
    memory->total = number("total");
    memory->used = number("used") + number("reserved");
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(void *card, memory_v2 *memory) {
    (void)card;
    ANSWER(nvmlDeviceGetMemoryInfo_v2);
    if (memory->version != (sizeof *memory | 2u << 24)) return ARGUMENT_VERSION_MISMATCH;
    delay();
    memory->total = number("total");
    memory->reserved = number("reserved");
    memory->used = number("used");
    memory->free = memory->total - memory->used - memory->reserved;
    return SUCCESS;
}
#endif

struct processes { process *list; unsigned n, room; };

static void read_process(const char *rest, void *into) {
    struct processes *found = into;
    const char *bytes = strchr(rest, ' ') + 1;
    if (found->n < found->room)
        found->list[found->n++] =
            (process){pid_of(rest), strncmp(bytes, "na", 2) ? strtoull(bytes, NULL, 0) : ~0ULL, ~0u, ~0u};
}

static int running(const char *key, unsigned *n, process *list) {
    unsigned there = (unsigned)lines(key, NULL, NULL);
    struct processes found = {list, 0, *n};
    int fits = list && there <= *n;
    *n = there;
    if (!there) return SUCCESS;
    if (!fits) return INSUFFICIENT_SIZE;
    lines(key, read_process, &found);
    *n = found.n;
    return SUCCESS;
}

#define RUNNING(symbol, key) \
    int symbol(void *card, unsigned *n, process *list) { (void)card; ANSWER(symbol); return running(key, n, list); }
RUNNING(nvmlDeviceGetComputeRunningProcesses_v2, "compute")
RUNNING(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics")
#ifndef OLD_DRIVER
RUNNING(nvmlDeviceGetComputeRunningProcesses_v3, "compute")
RUNNING(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics")
#endif

struct uses { use_sample *list; unsigned n, room; u64 since; };

static void read_use(const char *rest, void *into) {
    struct uses *found = into;
    unsigned percent = 0;
    u64 stamp = now_us();
    int stays = sscanf(rest, "%*s %u %llu", &percent, &stamp) == 2;
    if ((stays || stamp > found->since) && found->n++ < found->room)
        found->list[found->n - 1] = (use_sample){pid_of(rest), stamp, percent, 0, 0, 0};
}

int nvmlDeviceGetProcessUtilization(void *card, use_sample *list, unsigned *n, u64 since) {
    struct uses found = {list, 0, list ? *n : 0, since};
    (void)card;
    ANSWER(nvmlDeviceGetProcessUtilization);
    lines("use", read_use, &found);
    *n = found.n;
    if (!found.n) return number("quiet_success") ? SUCCESS : NOT_FOUND;
    return found.n > found.room ? INSUFFICIENT_SIZE : SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *card, utilization *rates) {
    (void)card;
    ANSWER(nvmlDeviceGetUtilizationRates);
    *rates = (utilization){(unsigned)number("load"), 0};
    return SUCCESS;
}

#define NUMBER(symbol, type, key) \
    int symbol(void *card, type *value) { (void)card; ANSWER(symbol); *value = (type)number(key); return SUCCESS; }
#define CLOCK(symbol, key)                                    \
    int symbol(void *card, unsigned domain, unsigned *mhz) {  \
        (void)card;                                           \
        ANSWER(symbol);                                       \
        *mhz = domain == 1 ? (unsigned)number(key) : 0;       \
        return SUCCESS;                                       \
    }
CLOCK(nvmlDeviceGetClockInfo, "clock")
CLOCK(nvmlDeviceGetMaxClockInfo, "max_clock")
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, "limit")
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, u64, "reasons")
#ifndef OLD_DRIVER
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, u64, "reasons")

int nvmlDeviceGetMigMode(void *card, unsigned *current, unsigned *pending) {
    (void)card;
    ANSWER(nvmlDeviceGetMigMode);
    *current = *pending = (unsigned)number("mig");
    return SUCCESS;
}
#endif
