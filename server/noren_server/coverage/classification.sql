-- The class of every use of one bucket of people; the rules of noren_core.rights.coverage.classify, set-based.
-- Variables: as_of, phases (empty for all), bucket, buckets.
-- Tables made before: requirement (purpose, required), event_kinds (state, kind), deliberate_actions (action).
-- A number of -1 stands for no such event.

create or replace temp table policy_rules as
select p.policy, r.purpose, p.activated_at, p.retired_at,
       min(n.activated_at) filter (list_contains(n.material, r.purpose)) as superseded_at
from policies p
cross join requirement r
left join policies n on n.season = p.season and n.activated_at > p.activated_at
group by all;

-- By purpose, the screens with every clause that it requires.
create or replace temp table complete_screens as
select s.screen, s.policy, r.purpose, s.company, s.position, s.verified_from, s.verified_until
from screens s
join requirement r on list_contains(s.purposes, r.purpose) and list_has_all(s.clauses, r.required);

-- What is processed by the dry run, judged as of now; and what was processed once and is reached by no dry run
-- any more, judged when it was last provided: whoever withdrew since was processed lawfully.
create or replace temp table uses as
select row_number() over () as point, *
from (
  select student, company, position, season, purpose, phase, route,
         case when registered_at = 0 then ''
              else strftime(make_timestamp(registered_at * 1000000), '%Y-%m') end as month,
         processed, control, getvariable('as_of')::bigint as judged_at
  from population
  where hash(student) % getvariable('buckets') = getvariable('bucket')
    and registered_at <= getvariable('as_of')
    and (len(getvariable('phases')) = 0 or list_contains(getvariable('phases'), phase))
  union all
  select student, company, position, season, purpose, 'provided', '', '', true, '', max(time)
  from provisions v
  where hash(student) % getvariable('buckets') = getvariable('bucket')
    and time <= getvariable('as_of')
    and len(getvariable('phases')) = 0
    and not exists (
      select 1 from population p
      where (p.student, p.company, p.position, p.season, p.purpose)
          = (v.student, v.company, v.position, v.season, v.purpose)
    )
  group by student, company, position, season, purpose
);

create or replace temp table bucket_events as
select e.seq, e.time, e.student, e.company, e.position, e.season, e.purpose, e.policy, kind, e.expires_at,
       rule.activated_at, rule.retired_at, rule.superseded_at,
       e.screen in (select screen from screens) as is_screen_known,
       case when kind = 'agreed' and e.time >= rule.activated_at
              and e.action in (select action from deliberate_actions)
              and not e.prechecked and not e.bundled
            then exists (
                   select 1 from complete_screens s
                   where s.screen = e.screen and s.policy = e.policy and s.purpose = e.purpose
                     and s.company in ('*', e.company) and s.position in ('*', e.position)
                     and e.time between s.verified_from and s.verified_until
                 ) and list_has_all(e.clauses, required)
            else false end as is_sound
from consent_events e
join event_kinds using (state)
join requirement using (purpose)
left join policy_rules rule using (policy, purpose)
where hash(e.student) % getvariable('buckets') = getvariable('bucket');

-- When each use is judged: once for its class, and at every time at which something was provided for it.
create or replace temp table points as
select point, false as is_provision, student, company, position, season, purpose, route, judged_at
from uses
union all
select (select count(*) from uses) + row_number() over (), true, *
from (
  select distinct v.student, v.company, v.position, v.season, v.purpose, '', v.time
  from provisions v
  where hash(v.student) % getvariable('buckets') = getvariable('bucket')
    and v.time <= getvariable('as_of')
    and exists (
      select 1 from uses u
      where (u.student, u.company, u.position, u.season, u.purpose)
          = (v.student, v.company, v.position, v.season, v.purpose)
    )
);

create or replace temp macro standing(activated_at, superseded_at, moment) as
  case when activated_at is null or moment < activated_at then 'unknown'
       when superseded_at is null or moment < superseded_at then 'new'
       else 'old' end;

-- The events of a use's own scope, and the general ones beside it, by policy version.
create or replace temp table by_version as
select point, policy, is_general, standing,
       coalesce(max(seq) filter (kind = 'agreed'), -1) as agreed,
       coalesce(max(seq) filter (kind in ('ends version', 'ends for good')), -1) as ended,
       coalesce(max(seq) filter (kind = 'ends for good'), -1) as ended_for_good,
       coalesce(max(seq) filter (kind = 'ends scope'), -1) as ended_by_person,
       bool_or(kind = 'exposed') as is_exposed,
       coalesce(bool_or(kind in ('exposed', 'agreed') and time >= superseded_at), false) as is_stale
from (
  select p.point, false as is_general, e.seq, e.time, e.policy, e.kind, e.superseded_at,
         standing(e.activated_at, e.superseded_at, p.judged_at) as standing
  from points p
  join bucket_events e using (student, company, position, season, purpose)
  where e.time <= p.judged_at
  union all
  select p.point, true, e.seq, e.time, e.policy, e.kind, e.superseded_at,
         standing(e.activated_at, e.superseded_at, p.judged_at)
  from points p
  join bucket_events e using (student, season, purpose)
  where e.company = '*' and e.time <= p.judged_at
)
group by point, policy, is_general, standing;

create or replace temp table by_point as
select point,
       bool_or(standing = 'unknown') as is_unknown,
       max(ended_by_person) as ended_by_person,
       max(agreed) as last_agreed,
       coalesce(max(agreed) filter (standing = 'new' and not is_general and agreed > ended), -1) as in_force,
       bool_or(standing = 'new' and not is_general and agreed >= 0) as agreed_to_new,
       bool_or(standing = 'new' and is_general and agreed >= 0) as agreed_in_general,
       bool_or(standing = 'new' and is_exposed) as saw_new,
       bool_or(standing = 'old' and (agreed >= 0 or is_exposed)) as knows_old,
       coalesce(max(ended_for_good) filter (standing = 'old'), -1)
         > coalesce(max(agreed) filter (standing = 'old'), -1) as old_ended,
       bool_or(standing = 'old' and is_stale) as was_stale
from by_version
group by point;

-- Agreements for other scopes, for those uses that nothing of their own decides.
create or replace temp table elsewhere as
select point,
       bool_or(is_standing and standing = 'new') as has_new,
       bool_or(is_standing) as has_any
from (
  select point, standing,
         agreed > ended
           and agreed > max(ended_by_person) over (partition by point, company, position, season, purpose)
           as is_standing
  from (
    select p.point, e.company, e.position, e.season, e.purpose, e.policy,
           standing(e.activated_at, e.superseded_at, p.judged_at) as standing,
           coalesce(max(seq) filter (kind = 'agreed'), -1) as agreed,
           coalesce(max(seq) filter (kind in ('ends version', 'ends for good')), -1) as ended,
           coalesce(max(seq) filter (kind = 'ends scope'), -1) as ended_by_person
    from points p
    left join by_point b using (point)
    join bucket_events e using (student)
    where e.time <= p.judged_at
      and not (e.season = p.season and e.purpose = p.purpose
               and (e.company = '*' or (e.company = p.company and e.position = p.position)))
      and (b.point is null
           or not (b.in_force > b.ended_by_person or b.is_unknown or b.ended_by_person > b.last_agreed
                   or b.agreed_to_new or b.agreed_in_general or b.saw_new))
    group by all
  )
)
group by point;

create or replace temp table verdicts as
select p.point, b.point is not null as has_event,
  case
    when b.in_force > b.ended_by_person then
      case
        when a.expires_at between 1 and p.judged_at or a.retired_at between 1 and p.judged_at then 'E8'
        when not a.is_screen_known then 'E9'
        when not a.is_sound then 'E2'
        when not exists (
          select 1 from agreements g
          where g.company = p.company
            and g.active_from <= p.judged_at and (g.active_until = 0 or p.judged_at < g.active_until)
        ) then 'E7'
        else 'E1'
      end
    when b.is_unknown then 'E9'
    when b.ended_by_person > b.last_agreed or b.agreed_to_new then 'E8'
    when b.agreed_in_general then 'E7'
    when b.saw_new then 'E3'
    when o.has_new then 'E7'
    when b.knows_old then
      case when b.old_ended then 'E8' when b.was_stale then 'E5' else 'E4' end
    when o.has_any then 'E7'
    when b.point is not null then 'E9'
    when exists (select 1 from screens s where s.route = p.route and s.verified_from <= p.judged_at) then 'E9'
    else 'E6'
  end as class
from points p
left join by_point b using (point)
left join bucket_events a on a.seq = b.in_force
left join elsewhere o using (point);

create or replace temp table provided_badly as
select distinct student, company, position, season, purpose
from points
join verdicts using (point)
where is_provision and class <> 'E1';
