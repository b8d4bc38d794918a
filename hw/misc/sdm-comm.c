/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "hw/qdev-properties.h"
#include "hw/misc/sdm-comm.h"
#include "qemu-sdm/trace.h"

static void *find_object(const char *id, const char *type, const char *what,
                         Error **errp)
{
    Object *obj = object_resolve_path_component(object_get_objects_root(), id);

    if (!obj || !object_dynamic_cast(obj, type)) {
        error_setg(errp, "%s=%s names no %s object", what, id, type);
        return NULL;
    }
    return obj;
}

static bool resolve_signals(SdmPort *port, Error **errp)
{
    g_autofree char *what = NULL;
    uint32_t i, types, type;

    if (port->len_signals > SDM_SIGNAL_TYPES) {
        error_setg(errp, "len-signals=%u: at most %u", port->len_signals,
                   SDM_SIGNAL_TYPES);
        return false;
    }
    for (i = 0; i < SDM_SIGNAL_TYPES; i++) {
        SdmSignal *signal;

        g_free(what);
        what = g_strdup_printf("signals[%u]", i);
        if (i >= port->len_signals) {
            if (port->signal_ids[i]) {
                error_setg(errp, "%s=%s is not below len-signals=%u", what,
                           port->signal_ids[i], port->len_signals);
                return false;
            }
            continue;
        }
        if (!port->signal_ids[i]) {
            error_setg(errp, "len-signals=%u, but there is no %s=ID",
                       port->len_signals, what);
            return false;
        }
        signal = find_object(port->signal_ids[i], TYPE_SDM_SIGNAL, what, errp);
        if (!signal) {
            return false;
        }
        types = 1u << signal->number | signal->also;
        if (port->features & types) {
            error_setg(errp, "%s=%s: signal type %u is in the list already",
                       what, port->signal_ids[i], signal->number);
            return false;
        }
        port->features |= types;
        for (type = 0; type < SDM_SIGNAL_TYPES; type++) {
            if (types & (1u << type)) {
                port->signals[type] = signal;
            }
        }
    }
    return true;
}

bool sdm_port_realize(SdmPort *port, Error **errp)
{
    uint32_t i;

    if (!port->comm_id) {
        error_setg(errp, "comm=ID is missing: the id of a " TYPE_SDM_COMM
                   "-* object");
        return false;
    }
    if (!port->master && port->num_slaves) {
        error_setg(errp, "num-slaves=%u is the master's to say: add master, "
                   "or leave it out", port->num_slaves);
        return false;
    }
    if (port->master && (port->num_slaves < 1 ||
                         port->num_slaves > SDM_MAX_SLAVES)) {
        error_setg(errp, "num-slaves=%u of a master: give 1 to %u",
                   port->num_slaves, SDM_MAX_SLAVES);
        return false;
    }
    port->comm = find_object(port->comm_id, TYPE_SDM_COMM, "comm", errp);
    if (!port->comm || !resolve_signals(port, errp)) {
        goto fail;
    }
    if (!SDM_COMM_GET_CLASS(port->comm)->attach(port->comm, port, errp)) {
        goto fail;
    }
    object_ref(OBJECT(port->comm));
    port->comm->users++;
    for (i = 0; i < SDM_SIGNAL_TYPES; i++) {
        if (port->signals[i]) {
            object_ref(OBJECT(port->signals[i]));
            port->signals[i]->users++;
        }
    }
    return true;

fail:
    port->comm = NULL;
    port->features = 0;
    memset(port->signals, 0, sizeof(port->signals));
    return false;
}

void sdm_port_unrealize(SdmPort *port)
{
    uint32_t i;

    SDM_COMM_GET_CLASS(port->comm)->detach(port->comm, port);
    memset(port->changed, 0, sizeof(port->changed));
    port->comm->users--;
    object_unref(OBJECT(port->comm));
    port->comm = NULL;
    for (i = 0; i < SDM_SIGNAL_TYPES; i++) {
        if (port->signals[i]) {
            port->signals[i]->users--;
            object_unref(OBJECT(port->signals[i]));
            port->signals[i] = NULL;
        }
    }
}

void sdm_port_finalize(SdmPort *port)
{
    uint32_t i;

    g_free(port->comm_id);
    g_free(port->saved);
    for (i = 0; i < SDM_SIGNAL_TYPES; i++) {
        g_free(port->signal_ids[i]);
    }
}

static uint32_t port_send(SdmPort *port, const struct sdm_signal *sig,
                          void *token)
{
    uint32_t type = sdm_from_le32(sig->type);
    uint32_t target = sdm_from_le16(sig->target);
    struct sdm_signal copy = *sig;
    uint32_t status;
    SdmSignal *signal;

    if (sig->flags & ~sdm_to_le32(SDM_SIGNAL_F_ACK)) {
        return SDM_ERR_INVAL;
    }
    if (type >= SDM_SIGNAL_TYPES || !port->signals[type]) {
        return SDM_ERR_UNSUPPORTED;
    }
    if ((!port->master && target != SDM_ID_MASTER) ||
        type == SDM_SIGNAL_STATE) {
        return SDM_ERR_DENIED;
    }
    signal = port->signals[type];
    if (SDM_SIGNAL_GET_CLASS(signal)->action) {
        status = SDM_SIGNAL_GET_CLASS(signal)->action(signal, port, sig, token);
        if (status != SDM_OK) {
            return status;
        }
    }
    copy.source = sdm_to_le16(sdm_port_id(port));
    return SDM_COMM_GET_CLASS(port->comm)->send(port->comm, port, &copy,
                                                token);
}

uint32_t sdm_port_send(SdmPort *port, const struct sdm_signal *sig,
                       void *token)
{
    uint32_t type = sdm_from_le32(sig->type);
    uint32_t status = port_send(port, sig, token);

    trace_sdm_port_send(port->comm_id, type, sdm_from_le16(sig->target),
                        sdm_from_le64(sig->payload[0]),
                        sdm_from_le64(sig->payload[1]), status);
    if (type < SDM_SIGNAL_TYPES && status != SDM_FULL) {
        if (status == SDM_OK || status == SDM_PENDING) {
            port->counts[type].sent++;
        } else {
            port->counts[type].refused++;
        }
    }
    return status;
}

static SdmLanes *port_lanes(SdmPort *port)
{
    return SDM_COMM_GET_CLASS(port->comm)->lanes(port->comm, port);
}

/* The latest state of each peer that changed, as a signal, if it is offered. */
static void tell_changes(SdmPort *port)
{
    bool told = false;
    uint32_t id;

    for (id = 0; id <= SDM_MAX_SLAVES; id++) {
        uint64_t bit = 1ull << id % 64;
        struct sdm_signal sig = {
            .type = sdm_to_le32(SDM_SIGNAL_STATE),
            .source = sdm_to_le16(id),
        };
        SdmPeerInfo peer;

        if (!(port->changed[id / 64] & bit)) {
            continue;
        }
        sdm_port_peer(port, id, &peer);
        sig.target = sdm_to_le16(sdm_port_id(port));
        sig.payload[0] = sdm_to_le64(peer.state);
        switch (port->ops->receive(port, &sig)) {
        case SDM_NO_ROOM:
            goto out;
        case SDM_HELD:
            port->counts[SDM_SIGNAL_STATE].waiting++;
            break;
        case SDM_TAKEN:
            port->counts[SDM_SIGNAL_STATE].taken++;
            break;
        }
        port->changed[id / 64] &= ~bit;
        told = true;
    }
out:
    if (told && port->ops->received) {
        port->ops->received(port);
    }
}

void sdm_port_changed(SdmPort *port, uint32_t id)
{
    trace_sdm_port_changed(port->comm_id, id);
    if (port->features & (1u << SDM_SIGNAL_STATE)) {
        port->changed[id / 64] |= 1ull << id % 64;
        tell_changes(port);
    }
    port->ops->peer(port, id);
}

void sdm_port_resume(SdmPort *port)
{
    tell_changes(port);
    sdm_lanes_resume(port_lanes(port));
}

void sdm_port_taken(SdmPort *port, const struct sdm_signal *sig)
{
    uint32_t type = sdm_from_le32(sig->type);

    if (type == SDM_SIGNAL_STATE) {
        sdm_counts_take(&port->counts[type]);
    } else {
        sdm_lanes_taken(port_lanes(port), sdm_from_le16(sig->source), type);
    }
}

void sdm_port_quiet(SdmPort *port, bool on)
{
    sdm_lanes_quiet(port_lanes(port), on);
}

void sdm_port_poll(SdmPort *port)
{
    SdmLanes *lanes = port_lanes(port);

    if (sdm_lanes_service(lanes)) {
        lanes->ops->schedule(lanes);
    }
}

void sdm_port_reset(SdmPort *port)
{
    memset(port->changed, 0, sizeof(port->changed));
    sdm_lanes_reset(port_lanes(port));
}

uint32_t sdm_port_id(SdmPort *port)
{
    return SDM_COMM_GET_CLASS(port->comm)->id(port->comm, port);
}

uint32_t sdm_port_num_slaves(SdmPort *port)
{
    return SDM_COMM_GET_CLASS(port->comm)->num_slaves(port->comm, port);
}

bool sdm_port_region(SdmPort *port, uint64_t *base, uint64_t *size)
{
    return SDM_COMM_GET_CLASS(port->comm)->region(port->comm, base, size);
}

void sdm_port_stats(SdmPort *port, uint32_t id, SdmStats *stats)
{
    sdm_lanes_stats(port_lanes(port), id, stats);
}

void sdm_port_peer(SdmPort *port, uint32_t id, SdmPeerInfo *info)
{
    memset(info, 0, sizeof(*info));
    SDM_COMM_GET_CLASS(port->comm)->peer(port->comm, port, id, info);
}

/* A channel between machines has no lanes that could be saved. */

static int port_pre_save(void *opaque)
{
    SdmPort *port = opaque;
    GByteArray *image = g_byte_array_new();

    sdm_lanes_save(port_lanes(port), image);
    g_free(port->saved);
    port->saved_size = image->len;
    port->saved = g_byte_array_free(image, false);
    return 0;
}

static int port_post_save(void *opaque)
{
    SdmPort *port = opaque;

    g_clear_pointer(&port->saved, g_free);
    return 0;
}

static int port_post_load(void *opaque, int version_id)
{
    SdmPort *port = opaque;
    Error *err = NULL;
    int ret = sdm_lanes_load(port_lanes(port), port->saved, port->saved_size,
                             &err);

    g_clear_pointer(&port->saved, g_free);
    if (ret < 0) {
        error_reportf_err(err, "comm=%s: ", port->comm_id);
    }
    return ret;
}

static bool size_valid(void *opaque, int version_id)
{
    SdmPort *port = opaque;

    return port->saved_size <= (SDM_MAX_SLAVES + 1) * 2 * SDM_RING_BYTES;
}

const VMStateDescription sdm_port_vmstate = {
    .name = "sdm-port",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = port_pre_save,
    .post_save = port_post_save,
    .post_load = port_post_load,
    .fields = (VMStateField[]) {
        VMSTATE_UINT32(saved_size, SdmPort),
        VMSTATE_VALIDATE("size of the saved signals", size_valid),
        VMSTATE_VBUFFER_ALLOC_UINT32(saved, SdmPort, 1, NULL, saved_size),
        VMSTATE_UINT64_ARRAY(changed, SdmPort, 2),
        VMSTATE_END_OF_LIST()
    },
};

/*
 * Properties. signals[N] are plain properties, all there from the start: with
 * an array property, len-signals= would have to be set before them, and -device
 * keeps no order.
 */

/* What a port was realized with is what everybody counts on. */
static bool may_set(Object *obj, const char *name, Error **errp)
{
    if (DEVICE(obj)->realized) {
        qdev_prop_set_after_realize(DEVICE(obj), name, errp);
        return false;
    }
    return true;
}

static char **signal_id(SdmPort *port, const char *name)
{
    return &port->signal_ids[strtoul(name + strlen("signals["), NULL, 10)];
}

static void get_signal_id(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    char *value = *signal_id(opaque, name) ?: (char *)"";

    visit_type_str(v, name, &value, errp);
}

static void set_signal_id(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    char **field = signal_id(opaque, name), *value;

    if (may_set(obj, name, errp) && visit_type_str(v, name, &value, errp)) {
        g_free(*field);
        *field = value;
    }
}

static void get_comm_id(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    SdmPort *port = opaque;
    char *value = port->comm_id ?: (char *)"";

    visit_type_str(v, name, &value, errp);
}

static void set_comm_id(Object *obj, Visitor *v, const char *name,
                        void *opaque, Error **errp)
{
    SdmPort *port = opaque;
    char *value;

    if (may_set(obj, name, errp) && visit_type_str(v, name, &value, errp)) {
        g_free(port->comm_id);
        port->comm_id = value;
    }
}

static void get_bool(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    visit_type_bool(v, name, opaque, errp);
}

static void set_bool(Object *obj, Visitor *v, const char *name, void *opaque,
                     Error **errp)
{
    if (may_set(obj, name, errp)) {
        visit_type_bool(v, name, opaque, errp);
    }
}

static void get_u32(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    visit_type_uint32(v, name, opaque, errp);
}

static void set_u32(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    if (may_set(obj, name, errp)) {
        visit_type_uint32(v, name, opaque, errp);
    }
}

void sdm_port_init(SdmPort *port, Object *owner, const SdmPortOps *ops)
{
    char name[16];
    uint32_t i;

    port->ops = ops;
    port->owner = owner;
    object_property_add(owner, "comm", "str", get_comm_id, set_comm_id, NULL,
                        port);
    object_property_add(owner, "master", "bool", get_bool, set_bool, NULL,
                        &port->master);
    object_property_add(owner, "num-slaves", "uint32", get_u32, set_u32, NULL,
                        &port->num_slaves);
    object_property_add(owner, "len-signals", "uint32", get_u32, set_u32,
                        NULL, &port->len_signals);
    for (i = 0; i < SDM_SIGNAL_TYPES; i++) {
        snprintf(name, sizeof(name), "signals[%u]", i);
        object_property_add(owner, name, "str", get_signal_id, set_signal_id,
                            NULL, port);
    }
}

static bool sdm_comm_can_be_deleted(UserCreatable *uc)
{
    return !SDM_COMM(uc)->users;
}

static void sdm_comm_class_init(ObjectClass *oc, void *data)
{
    USER_CREATABLE_CLASS(oc)->can_be_deleted = sdm_comm_can_be_deleted;
}

static const TypeInfo sdm_comm_info = {
    .name = TYPE_SDM_COMM,
    .parent = TYPE_OBJECT,
    .abstract = true,
    .instance_size = sizeof(SdmComm),
    .class_size = sizeof(SdmCommClass),
    .class_init = sdm_comm_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    }
};

static void sdm_comm_register(void)
{
    type_register_static(&sdm_comm_info);
}

type_init(sdm_comm_register);
